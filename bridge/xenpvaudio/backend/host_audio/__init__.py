"""Outputs whose libraries have threads of their own, so that frames pass through a relay: `pulse`,
a PulseAudio server, whose connection is `server`; `alsa`, a sound device by alsa-lib alone; and
what both have in common, `shared`. `output_maker` makes the one that the policy chooses.

May use: what `backend` may.
"""
