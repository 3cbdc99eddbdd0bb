"""What is measured, each as a context manager that gives a Side: a sink to play to, and the
processes that its sound costs. `virtual` are PipeWire's devices within one daemon, `between` those
that carry sound from one machine to another, as we do, and `ours`; `elsewhere` is ours of another
commit.
"""
