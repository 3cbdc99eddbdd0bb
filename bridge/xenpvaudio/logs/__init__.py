"""What people read: one quoting function for what a peer wrote, and each peer's share of the log.

May use: nothing.
"""
