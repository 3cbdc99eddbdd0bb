"""A node's figures are told anew when that is news, and not because a second has passed."""

from __future__ import annotations

from xenpvaudio.frontend.figures import DRIFTING_SEC, Shown

FIGURES = {
    "xenpv.delay-ms": "21.333",
    "xenpv.host-delay-ms": "10.458",
    "xenpv.clock-ppm": "6.61",
    "xenpv.transport-us": "25",
    "xenpv.callback-us": "3.4",
    "xenpv.xruns": "0",
    "xenpv.state": "running",
}
# A stream that runs well: each figure as it is from one second to the next.
QUIET = {
    "xenpv.host-delay-ms": ("10.458", "10.9", "9.6"),
    "xenpv.clock-ppm": ("6.61", "6.4", "7.2"),
    "xenpv.transport-us": ("25", "31", "90"),
    "xenpv.callback-us": ("3.4", "2.1", "7.9"),
}


def shown() -> Shown:
    made = Shown()
    assert made.is_news(FIGURES, 100.0)
    return made


def test_a_stream_that_runs_well_is_no_news_for_an_hour() -> None:
    node = shown()
    told = [
        node.is_news(FIGURES | {key: values[sec % 3] for key, values in QUIET.items()}, 100.0 + sec)
        for sec in range(1, 3600)
    ]
    assert not any(told)


def test_what_people_look_for_is_told_at_once() -> None:
    for key, text in (
        ("xenpv.delay-ms", "21.354"),  # a frame
        ("xenpv.xruns", "1"),
        ("xenpv.state", "idle"),
        ("xenpv.volume", "host"),  # was not there before
    ):
        node = shown()
        assert node.is_news(FIGURES | {key: text}, 100.1), key
        assert not node.is_news(FIGURES | {key: text}, 101.1), key


def test_what_drifts_is_told_when_it_is_another_thing_and_not_each_second() -> None:
    node = shown()
    told = [
        sec
        for sec in range(1, 100)
        if node.is_news(FIGURES | {"xenpv.clock-ppm": f"{10 * sec}"}, 100.0 + sec)
    ]
    assert told == list(range(int(DRIFTING_SEC), 100, int(DRIFTING_SEC)))


def test_what_drifts_slowly_is_never_far_from_what_is_told() -> None:
    node, last = shown(), 6.61
    for sec in range(1, 1000):
        ppm = 6.61 + 0.05 * sec
        if node.is_news(FIGURES | {"xenpv.clock-ppm": f"{ppm}"}, 100.0 + sec):
            last = ppm
        assert abs(ppm - last) <= max(2.0, 0.1 * last) + 0.05 * DRIFTING_SEC
    assert last > 40


def test_what_is_told_by_the_way_is_remembered() -> None:
    node = shown()
    assert node.is_news(FIGURES | {"xenpv.xruns": "1", "xenpv.clock-ppm": "60"}, 101.0)
    assert not node.is_news(FIGURES | {"xenpv.xruns": "1", "xenpv.clock-ppm": "61"}, 200.0)
