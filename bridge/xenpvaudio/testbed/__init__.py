"""Both halves on one machine: private PipeWire sessions, a simulated Xen, the demo.

`noise_player` is the client that the demo and the measuring commands play and listen with.
May use: xen, sndif, native, sound.
"""
