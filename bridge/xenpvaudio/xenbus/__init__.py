"""The life of a device in XenStore, the same for both ends.

`states` are both ends' tables, `device` carries them out, `nodes` reads and writes the directories,
`backoff` holds a guest off that comes back too often. May use: sndif, xen.api, the native header.
"""
