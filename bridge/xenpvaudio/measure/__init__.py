"""What the measuring commands do: latency, aec-check, and the sums behind them.

May use: testbed, sound, config.
"""
