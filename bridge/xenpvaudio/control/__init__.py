"""What a person asks and orders: doctor, query.

May use: xen, xenbus, sndif, config, logs, testbed.graph_dump.
"""
