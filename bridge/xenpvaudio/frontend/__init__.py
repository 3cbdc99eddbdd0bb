"""The guest half: `device` is a card, `link` a stream's rings, `node` what PipeWire sees of it.

May use: engine, xenbus, sndif, xen.api, config, toml_file, native, logs.
"""
