"""The three seams on real Xen: XenStore's client, grant tables, event channels.

May use: xen's api, native and pages.
"""
