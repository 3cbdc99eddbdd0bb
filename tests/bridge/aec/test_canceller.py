"""What is told of the canceller while its process is replaced; pipewire is a script here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xenpvaudio.aec import canceller as module
from xenpvaudio.aec.canceller import Canceller
from xenpvaudio.aec.command import _words
from xenpvaudio.aec.configuration import Ends

# Told to end it takes its time: until there is a file "go". What it does is what lies beside it.
PROGRAM = """\
#!/bin/sh
cd "$(dirname "$0")" || exit
trap ': > asked; while [ ! -e go ]; do sleep 0.02; done; exit 0' TERM
: > "started.$$"
while :; do sleep 0.02; done
"""
LIMIT_SEC = 30.0  # no requirement, only a bound for a test that fails


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "pipewire"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(module, "LOOK_SEC", 0.02)
    monkeypatch.setattr(module, "_GRACE_SEC", LIMIT_SEC)
    return tmp_path


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_SEC):
        while not condition():
            await asyncio.sleep(0.02)


def test_one_that_is_told_another_delay_runs_all_the_while(folder: Path) -> None:
    async def run() -> None:
        ends = Ends("sink", "source", None)
        canceller = Canceller(lambda: ends, folder / "state", folder / "text")

        def report() -> dict[str, Any]:
            return canceller.answer({"order": "status"}, 0)

        try:
            canceller.answer({"order": "enable"}, 0)
            await eventually(lambda: any(folder.glob("started.*")))
            before = _words(report())

            ends = Ends("sink", "source", 4800)
            canceller.stir()
            await eventually((folder / "asked").exists)
            assert report()["running"]
            assert _words(report()) == before
            (folder / "go").touch()
            await eventually(lambda: len(list(folder.glob("started.*"))) == 2)
            assert report()["running"]
            assert _words(report()) == before.replace("32.0 ms", "100.0 ms") != before
        finally:
            (folder / "go").touch()
            await canceller.stop()
        assert not report()["running"]

    asyncio.run(run())


def test_one_without_a_card_does_not_run(folder: Path) -> None:
    async def run() -> None:
        canceller = Canceller(lambda: None, folder / "state", folder / "text")
        canceller.answer({"order": "enable"}, 0)
        await asyncio.sleep(0.1)
        report = canceller.answer({"order": "status"}, 0)
        assert not report["running"]
        assert "waits for a card" in _words(report)
        await canceller.stop()

    asyncio.run(run())
