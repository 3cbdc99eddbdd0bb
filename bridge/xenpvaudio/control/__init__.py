"""What a person asks and orders: doctor.

May use: xen, xenbus, sndif, config, logs, testbed.graph_dump.
"""
