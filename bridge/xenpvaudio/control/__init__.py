"""What a person asks and orders: doctor, query, status, mic, mute.

May use: xen, xenbus, sndif, config, logs, testbed.graph_dump.
"""
