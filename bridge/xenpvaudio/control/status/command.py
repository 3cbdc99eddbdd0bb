"""The command status: what runs here, how late its sound is, and what went wrong, from the halves
themselves (control/server.py) and, in a guest, from PulseAudio's list of who plays.

`--json` is what the halves say, unchanged; `--metrics` the same figures as OpenMetrics text, once,
for a collector of files. Colours are rich's; without it the same lines are plain.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any, TextIO

from xenpvaudio.errors import UnavailableError

from ..client import status_all
from ..machine import Machine
from .applications import applications
from .lines import WIDTH, Line, Report, lines
from .metrics import metrics

WATCH_SEC = 1.0


def _asked(machine: Machine) -> list[Report]:
    return status_all(machine.environ)


def picture(shown: Iterable[Line]) -> Any:
    """For rich to draw."""
    from rich.console import Group
    from rich.text import Text

    return Group(*(Text(line.text, style=line.style) for line in shown))


def run_status(
    *,
    as_json: bool = False,
    as_metrics: bool = False,
    watch: bool = False,
    machine: Machine | None = None,
    out: TextIO | None = None,
) -> int:
    """UnavailableError if neither half runs here. `watch`: until it is interrupted."""
    machine, out = machine or Machine(), out or sys.stdout
    halves = _asked(machine)
    if as_json:
        print(json.dumps(halves, indent=2), file=out)
    elif as_metrics:
        print("\n".join(metrics(halves)), file=out)
    elif find_spec("rich") is not None:
        _show(machine, halves, out, watch=watch)
    elif watch:
        raise UnavailableError(
            "rich cannot be imported here", hint="pip install xen-pv-audio[status]"
        )
    else:
        for line in lines(halves, applications(machine.environ)):
            print(line.text, file=out)
    return 0


def _show(machine: Machine, halves: list[Report], out: TextIO, *, watch: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    class Output(Console):
        def on_broken_pipe(self) -> None:
            """Rich ends the program with status 1: who stops reading is main()'s to answer."""
            raise

    console = Output(file=out, highlight=False)
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH

    def shown() -> Any:
        return picture(lines(halves, applications(machine.environ), width))

    if not watch:
        console.print(shown(), soft_wrap=True)
        return
    # Live shows nothing of what it replaces where there is no screen.
    live = Live(console=console, auto_refresh=False, screen=True) if console.is_terminal else None
    with live or nullcontext():
        while True:
            if live is not None:
                live.update(shown(), refresh=True)
            else:
                console.print(shown(), soft_wrap=True)
                out.flush()
            time.sleep(WATCH_SEC)  # the halves renew their figures once a second
            halves = _asked(machine)
