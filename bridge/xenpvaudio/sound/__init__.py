"""Sound as samples: WAV files, a synthetic voice, comparing what was played with what was heard.

May use: nothing.
"""
