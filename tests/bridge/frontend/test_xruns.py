"""Xruns are counted over all connections of a stream."""

from __future__ import annotations

from xenpvaudio.frontend.xruns import Xruns


def test_none_is_lost_when_the_backend_is_restarted() -> None:
    xruns = Xruns()
    assert (xruns.total, xruns.last_ago_sec(5.0)) == (0, None)
    xruns.seen(2, 10_000_000_000)
    xruns.connection_ended()
    assert xruns.total == 2
    xruns.seen(0, 0)
    assert (xruns.total, xruns.last_ago_sec(20.0)) == (2, 10.0)
    xruns.seen(1, 21_000_000_000)
    xruns.seen(1, 21_000_000_000)
    assert (xruns.total, xruns.last_ago_sec(24.0)) == (3, 3.0)
    xruns.connection_ended()
    xruns.connection_ended()
    assert xruns.total == 3
