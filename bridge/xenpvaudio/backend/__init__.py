"""The host half: `backend` finds the guests' cards, `device` is one, `stream` one of its streams,
`outputs` and `host_audio` where it plays, `host_user` what the host's user says.

May use: engine, xenbus, sndif, xen.api, config, native, sound, logs.
"""
