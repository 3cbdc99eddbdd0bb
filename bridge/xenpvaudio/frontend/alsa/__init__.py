"""A guest without PipeWire: its streams as the PCMs of other programs. `stream` opens one for a
program, `controls` has the card's volumes for it, `server` is whom the programs' plugins ask
(pw_module/src/ioplug).

May use: what `frontend` may.
"""
