"""A half's report as one line."""

from __future__ import annotations

from typing import Any

from xenpvaudio.service.summary import summary


def stream(**fields: Any) -> dict[str, Any]:
    running = {"direction": "playback", "state": "running", "rate_hz": 48000, "fill_frames": 480}
    return running | fields


def report(half: str, *cards: list[dict[str, Any]], pipewire: bool | None = True) -> dict[str, Any]:
    found = [{"peer_domain": n + 1, "streams": streams} for n, streams in enumerate(cards)]
    return {"half": half, "pipewire": pipewire, "cards": found}


def test_backend_counts_guests_and_running_streams() -> None:
    capture = stream(direction="capture", fill_frames=99999)
    closed = {"direction": "playback", "state": "closed"}
    told = report("backend", [stream(fill_frames=1024), capture, closed], [stream()])
    assert summary(told) == "2 guests, 3 streams running, delay 21.3 ms"


def test_two_cards_of_a_guest_are_one_guest() -> None:
    told = report("backend", [], [])
    told["cards"][1]["peer_domain"] = 1
    assert summary(told) == "1 guest, 0 streams running"


def test_frontend_tells_the_delay_that_applications_read() -> None:
    told = report("frontend", [stream(published_delay_frames=2048), stream(state="idle")])
    assert summary(told) == "1 card, 1 stream running, delay 42.7 ms"


def test_without_pipewire_it_says_so() -> None:
    assert summary(report("backend", pipewire=False)).endswith(", waits for PipeWire")
    assert summary(report("backend", pipewire=None)) == "0 guests, 0 streams running"
