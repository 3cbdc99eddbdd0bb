"""The three seams on real Xen: XenStore's client, grant tables, event channels.

May use: xen.api, xen.native, xen.pages.
"""
