"""The command status: `command` asks the halves, `applications` knows who plays, `lines` tells it
to people, `metrics` to collectors.

May use: what `control` may.
"""
