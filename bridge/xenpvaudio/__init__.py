"""Xen PV Audio: sndif frontend and backend in user space, the control plane in Python."""

__version__ = "0.1.0"
