"""sndif as values: codes, packets, page directory, card, configuration space, stream rules, volume.

Pure: no I/O, no threads, no clock. May use: the native header's numbers (xenpvaudio_native.header).
"""
