"""What a service manager is told of a running half: that it is ready, how it does, that it lives.

May use: nothing.
"""
