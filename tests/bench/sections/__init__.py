"""The parts of `make bench`: each module measures one thing, run(Scope) gives what was Found."""
