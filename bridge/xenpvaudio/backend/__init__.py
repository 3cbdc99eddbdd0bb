"""The host half: `device` is a guest's card, `stream` one of its streams, `outputs` where it plays.

May use: engine, xenbus, sndif, xen.api, config, sound, the native package; never frontend.
"""
