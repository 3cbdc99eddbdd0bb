"""A guest without PipeWire: its streams as the PCMs of other programs. `stream` opens one for a
program, `server` is whom the programs' plugin asks (pw_module/src/ioplug).

May use: what `frontend` may.
"""
