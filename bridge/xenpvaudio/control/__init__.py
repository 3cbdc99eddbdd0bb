"""What a person asks and orders: doctor, query, status, mic, mute.

May use: xen, xenbus, sndif, config, frontend.settings_file, logs, testbed.graph_dump,
testbed.alsa.files.
"""
