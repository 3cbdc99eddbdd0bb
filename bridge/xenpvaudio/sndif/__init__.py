"""sndif as values: codes, packets, page directory, card, configuration space, stream rules, volume.

Pure: no I/O, no threads, no clock. May use: native.header, logs.quoting.
"""
