"""Access to Xen, real or simulated, through three seams: XenStore, grant table, event channels.

Nothing in here knows of sound. `api` declares the seams; `real` is the real thing; `sim` a
simulated hypervisor in a directory; `connect` chooses. `native` and `pages` serve both, `devices`
is what a toolstack writes for a device. Importing the package touches no device and loads no
compiled code. May use: native.ffi, native.lib.
"""
