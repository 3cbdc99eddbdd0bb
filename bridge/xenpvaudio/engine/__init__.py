"""One process's data plane and PipeWire connection, seen from Python.

May use: sndif, native, logs.
"""
