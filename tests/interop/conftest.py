"""Tests of real-time audio between processes, on a machine that may stand still meanwhile.

A stall spoils a run for every program in it, ours or not. So a witness (witness.py) runs beside
each test; one that failed while the machine stood still is run again, RUNS times at the most, and
the last run's result is the test's. A failure beside which the machine never stood still for as
long as STALL_NSEC, or which no stall explains, is final. The report ends with what was run again.

Where several processes run tests (xdist), another one makes the report: it is told by a property
of the test.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from witness import Witness

HERE = Path(__file__).parent
RUNS = 3
STALL_NSEC = 2_000_000
AGAIN = "run again"
# How a Comparison says that no frame came twice, out of order or changed: a stall cannot do that.
WHOLE = ("duplicated=0", "reordered=0", "corrupted=0")


def explained(failure: str) -> bool:
    """Whether a stall may have been the cause of it."""
    return "Comparison(" not in failure or all(word in failure for word in WHOLE)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not item.path.is_relative_to(HERE):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    again = []
    for run in range(1, RUNS + 1):
        with Witness() as witness:
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        failures = [report for report in reports if report.failed]
        stall_nsec = witness.saw.worst_nsec
        final = run == RUNS or stall_nsec < STALL_NSEC
        if final or not failures or not all(explained(str(f.longrepr)) for f in failures):
            break
        reason = failures[0].longreprtext.strip().splitlines()[-1]
        again.append(f"the machine stood still for {stall_nsec / 1e6:.0f} ms: {reason}")
        item._initrequest()  # type: ignore[attr-defined]  # new fixtures, as for a first run
    reports[0].user_properties += [(AGAIN, told) for told in again]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for some in terminalreporter.stats.values() for report in some]
    lines = [
        f"{report.nodeid}: {told}"
        for report in reports
        if isinstance(report, pytest.TestReport)
        for name, told in report.user_properties
        if name == AGAIN
    ]
    if lines:
        terminalreporter.section("run again")
        for line in lines:
            terminalreporter.write_line(line)
