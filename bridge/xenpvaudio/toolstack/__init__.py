"""What xl does for vsnd, where another toolstack has no word for it: attach and detach.

`specification` reads the vsnd text of an xl.cfg, `cards` writes and removes the nodes.

May use: xen, sndif, logs.
"""
