"""What is told at a stream's end is of its peer's share of the log: how often it ends is the peer's
choice, and so is what there is to tell."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from pair import Pair, run
from waiting import wait_for
from xenpvaudio.logs.peer_log import PeerLines
from xenpvaudio.xenbus.states import XenbusState
from xenpvaudio_native import plane


@pytest.mark.parametrize(
    ("kind", "half", "words"),
    [
        (plane.BackStream, "back", "had to wait"),
        (plane.FrontStream, "front", "looked away"),
    ],
)
def test_a_peer_that_has_had_its_lines_causes_none_by_leaving(
    kind: type[plane.BackStream | plane.FrontStream],
    half: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = kind.stats.fget  # type: ignore[attr-defined]
    rested = property(lambda stream: dataclasses.replace(real(stream), rests=7))
    monkeypatch.setattr(kind, "stats", rested)

    async def again(pair: Pair) -> None:
        caplog.clear()
        before = pair.link
        pair.front.look()
        pair.back.store.write(f"{pair.front.peer}/state", "6")
        # it may have left and come back between two looks: the link is another one then
        await wait_for(
            lambda: (
                pair.front.state is XenbusState.CONNECTED
                and pair.front.streams()[0].link not in (None, before)
            )
        )

    async def body(pair: Pair) -> None:
        await again(pair)
        assert words in caplog.text
        lines: PeerLines = getattr(pair, half).lines
        now_sec = lines._now()
        monkeypatch.setattr(lines, "_now", lambda: now_sec)  # none is earned meanwhile
        while lines.allows(logging.getLogger()):
            pass
        await again(pair)
        assert words not in caplog.text

    with caplog.at_level(logging.INFO):
        run(tmp_path, body)
