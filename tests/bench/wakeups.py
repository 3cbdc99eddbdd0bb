"""How often a process is woken.

A wake-up is a thread that slept and was woken: a voluntary context switch (proc(5), status). A
thread that finds its next event there already does not sleep, so it pays for none.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

WINDOW_SEC = 1.0


def sleeps(pid: int) -> Counter[str]:
    """How often each thread has slept so far, by "TID NAME". The "main thread" is Python's."""
    found: Counter[str] = Counter()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            status, name = (thread / "status").read_text(), (thread / "comm").read_text().strip()
        except OSError:
            continue  # it has just ended
        (count,) = re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)
        who = "main thread" if thread.name == str(pid) else name
        found[f"{thread.name} {who}"] = int(count)
    return found


def wakeups_per_sec(pids: Mapping[str, int], windows: int) -> dict[str, dict[str, float]]:
    """By name of process and of thread (those of one name together), the median of as many
    windows of a second."""
    seen: dict[str, list[Counter[str]]] = {who: [] for who in pids}
    before = {who: sleeps(pid) for who, pid in pids.items()}
    since = time.monotonic()
    for _ in range(windows):
        time.sleep(WINDOW_SEC)
        now, after = time.monotonic(), {who: sleeps(pid) for who, pid in pids.items()}
        for who in pids:
            window: Counter[str] = Counter()
            for thread, count in (after[who] - before[who]).items():
                window[thread.split(" ", 1)[1]] += count
            seen[who].append(Counter({name: n / (now - since) for name, n in window.items()}))
        before, since = after, now
    return {
        who: {
            name: statistics.median(window[name] for window in counts)
            for name in sorted({name for window in counts for name in window})
        }
        for who, counts in seen.items()
    }
