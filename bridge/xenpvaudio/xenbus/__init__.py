"""The life of a device in XenStore, the same for both ends.

`states` are both ends' tables, `device` carries them out, `nodes` reads and writes the directories,
`availability` says in them which streams get nothing, `discovery` finds them, `backoff` holds a
guest off that comes back too often, `pace` one that never pauses. May use: sndif, xen.api,
native.header, logs.
"""
