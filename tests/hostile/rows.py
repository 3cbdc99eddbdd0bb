"""One row of the table: the honest guest alone, then beside an attack, and what is too much of it.

What is too much is told in frames, counts and in the honest guest's own figures of the same run: a
machine that is slow is as slow for the honest guest alone. PipeWire's own client plays beside it: a
cycle of the host's graph that this machine does not keep is lost to both, now to the one and now to
the other. So where the guest lost more, more windows are taken until it did not in all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .attacks import attackers
from .honest import PERIOD_FRAMES
from .stage import RATE, Stage, Window

GAP_SEC = 2 * PERIOD_FRAMES / RATE + 0.010
QUERY_SEC = 0.1
NEWCOMER_SEC = 2.0
CPU = 0.25
RSS_MIB = 16
HONEST_CPU = 0.04
"""What the honest guest costs the backend on the machine that CPU is said for."""
BURST_LINES, LINES_PER_SEC = 40, 5
OTHERS_LINES = 8  # who comes and goes meanwhile
FEW_DESCRIPTORS = 4  # what PipeWire keeps once, for all
SETTLE_SEC = 0.3
GONE_SEC = 5.0
MORE_WINDOWS = 5


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    did: int
    alone: Window
    beside: Window
    descriptors_kept: int  # after the hostile guest has ended
    silent_frames: int  # beside, in all windows
    peer_silent_frames: int

    @property
    def cpu(self) -> float:
        """For the hostile guest."""
        return self.beside.cpu - self.alone.cpu

    @property
    def rss_mib(self) -> float:
        return self.beside.rss_mib - self.alone.rss_mib

    @property
    def lost_frames(self) -> int:
        """More than PipeWire's own client, and than alone."""
        return self.silent_frames - max(self.peer_silent_frames, self.alone.silent_frames)

    def faults(self) -> list[str]:
        return list(self._faults())

    def _faults(self) -> Iterator[str]:
        alone, beside = self.alone, self.beside
        slow = max(1.0, alone.cpu / HONEST_CPU)
        guests = len(attackers(self.name))
        if self.did == 0:
            yield "nothing was done"
        if self.lost_frames > 0:
            yield (
                f"{self.silent_frames} silent frames, {alone.silent_frames} alone, "
                f"{self.peer_silent_frames} of PipeWire's own client"
            )
        if beside.peer_silent_frames > beside.seconds * RATE / 2:
            yield "PipeWire's own client was not heard, nobody was compared"
        if beside.gap_sec > max(GAP_SEC, 2 * alone.gap_sec):
            yield f"an event gap of {beside.gap_sec * 1e3:.0f} ms"
        late_sec = max(alone.late_sec, beside.late_sec)
        # each guest may have what Python answers in a burst
        if beside.query_sec > max(guests * QUERY_SEC, 2 * alone.query_sec) * slow + 4 * late_sec:
            yield f"a query of {beside.query_sec * 1e3:.0f} ms"
        if beside.newcomer_sec > max(NEWCOMER_SEC, 2 * alone.newcomer_sec) * slow:
            yield f"a newcomer waited {beside.newcomer_sec:.1f} s"
        if self.cpu > guests * CPU * slow:
            yield f"{self.cpu:.0%} of a processor"
        if self.rss_mib > guests * RSS_MIB:
            yield f"{self.rss_mib:.0f} MiB"
        if beside.lines > guests * (BURST_LINES + LINES_PER_SEC * beside.seconds) + OTHERS_LINES:
            yield f"{beside.lines} log lines"
        if self.descriptors_kept > FEW_DESCRIPTORS:
            yield f"{self.descriptors_kept} descriptors are kept"


def measure(stage: Stage, name: str, seconds: float, alone_sec: float = 1.5) -> Row:
    """The stage is as before when it returns."""
    row = _measure(stage, name, seconds, alone_sec)
    for _ in range(MORE_WINDOWS):
        if row.lost_frames <= 0:
            break
        more = _measure(stage, name, seconds, alone_sec)
        row = replace(
            more,
            silent_frames=row.silent_frames + more.silent_frames,
            peer_silent_frames=row.peer_silent_frames + more.peer_silent_frames,
        )
    return row


def _measure(stage: Stage, name: str, seconds: float, alone_sec: float) -> Row:
    before = stage.process().descriptors
    alone = stage.window(alone_sec)
    with stage.hostile(name, seconds + SETTLE_SEC) as done:
        beside = stage.window(seconds)
        did = done()
    stage.forget_guests()
    end = time.monotonic() + GONE_SEC
    while (kept := stage.process().descriptors - before) > 0 and time.monotonic() < end:
        time.sleep(0.05)
    lost = beside.silent_frames, beside.peer_silent_frames
    return Row(name, did, alone, beside, kept, *lost)


HEAD = (
    "| attack | done | silent frames, PipeWire's client's | event gap, ms | query, ms "
    "| newcomer, s | CPU | RSS, MiB | lines/s | descriptors: at its end, kept |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def line(row: Row) -> str:
    """Of the table; alone / beside."""
    a, b = row.alone, row.beside
    return (
        f"| {row.name} | {row.did} | {a.silent_frames} / {row.silent_frames}, "
        f"{row.peer_silent_frames} "
        f"| {a.gap_sec * 1e3:.0f} / {b.gap_sec * 1e3:.0f} "
        f"| {a.query_sec * 1e3:.1f} / {b.query_sec * 1e3:.1f} "
        f"| {a.newcomer_sec:.2f} / {b.newcomer_sec:.2f} | {row.cpu:+.1%} | {row.rss_mib:+.1f} "
        f"| {b.lines_per_sec:.1f} | {b.descriptors - a.descriptors:+d}, {row.descriptors_kept:+d} |"
    )
