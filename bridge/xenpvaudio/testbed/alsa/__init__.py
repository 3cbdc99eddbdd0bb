"""A guest without PipeWire: `bed` runs it, `pulse` is a PulseAudio daemon in it, `player` a program
that asks ALSA for delays, and `files` knows where the parts are that its programs load.

May use: what `testbed` may.
"""
