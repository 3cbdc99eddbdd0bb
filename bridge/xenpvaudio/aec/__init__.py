"""Echo cancellation that needs no reading: PipeWire's canceller between applications and the card,
told the delay that is known here. `configuration` is its text, `canceller` looks after its process,
`command` is `xen-pv-audio aec`.

May use: frontend, control, logs, sndif, testbed.graph_dump, testbed.keeper, testbed.pwconf.
"""
