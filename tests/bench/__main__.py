"""`make bench`: what sound costs here, and how true its delay is, beside PipeWire's own devices.

    python -m bench [--quick] [--json FILE] [--picture FILE.svg] [SECTION ...]

Prints, and judges nothing that is of this machine and this hour (the clock alone is the same
everywhere). What is compared was measured in turn in the same run. --quick: a short window of each,
to see that it runs, in two minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import picture
from bench.beside import checked_out
from bench.meter import machine_ticks, steal_fraction
from bench.report import FULL, QUICK, Found, Scope, machine
from bench.sections import (
    callback,
    calls,
    clock,
    delay,
    instructions,
    peers,
    scale,
    start,
    xruns,
)

QUICK_SEC = 90.0
"""--quick begins no more after this; a busy machine does less."""
SECTIONS: dict[str, Callable[[Scope], Found]] = {
    "peers": peers.run,
    "calls": calls.run,
    "callback": callback.run,
    "clock": clock.run,
    "start": start.run,
    "delay": delay.run,
    "scale": scale.run,
    "instructions": instructions.run,
    "xruns": xruns.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description="what sound costs here")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="one short window of each")
    parser.add_argument("--windows", type=int, help="of each side")
    parser.add_argument("--quantum", type=int, action="append", help="frames; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="of the section peers")
    parser.add_argument("--beside", metavar="COMMIT", help="measure its halves in turn with these")
    chosen = parser.parse_args()
    if chosen.picture and chosen.sections and "peers" not in chosen.sections:
        parser.error("the picture shows the section peers, which is not among those")
    if wrong := [name for name in chosen.sections if name not in SECTIONS]:
        parser.error(f"no section {wrong[0]}; there are {', '.join(SECTIONS)}")
    amount: dict[str, Any] = dict(QUICK if chosen.quick else FULL)
    if chosen.windows:
        amount["windows"] = chosen.windows
    if chosen.quantum:
        amount["quanta"] = tuple(chosen.quantum)
    report: dict[str, Any] = {"machine": machine(), "quick": chosen.quick, "sections": {}}
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    then = checked_out(chosen.beside) if chosen.beside else None
    ticks, failures = machine_ticks(), []
    started = time.monotonic()
    for name in chosen.sections or SECTIONS:
        began = time.monotonic()
        if chosen.quick and not chosen.sections and began - started > QUICK_SEC:
            print(f"\n{name}: left out, time is up")
            continue
        with tempfile.TemporaryDirectory(prefix="xpa-bench-") as folder:
            found = SECTIONS[name](Scope(chosen.quick, folder=Path(folder), then=then, **amount))
        print(found.text(), flush=True)
        took_sec = round(time.monotonic() - began, 1)
        failures += found.failures
        report["sections"][name] = {
            "title": found.title,
            "figures": found.figures,
            "notes": found.notes,
            "took_sec": took_sec,
        }
    report["stolen"] = round(steal_fraction(ticks, machine_ticks()), 4)
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if chosen.picture:
        picture.write(report, chosen.picture)
    for failure in failures:
        print(f"not met: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
