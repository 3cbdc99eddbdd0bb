"""Access to Xen, real or simulated, through three seams: XenStore, grant table, event channels.

Nothing in here knows of sound. `api` declares the seams; `xenstore`, `gnttab` and `evtchn` are the
real thing; the `sim*` modules a simulated hypervisor in a directory; `connect` chooses. Importing
the package touches no device and loads no compiled code.
"""
