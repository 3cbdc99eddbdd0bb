"""Pictures of what was measured, for people. Needs matplotlib: import it after extras.require()."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from xenpvaudio.errors import ConfigError

from .aec_analysis import Curves, Phases
from .timing import Series, Timing

matplotlib.use("Agg")
from matplotlib import pyplot

_PLAY, _CAPTURE, _ERROR, _EVENT, _LIMIT = "#1f5fa8", "#c25a10", "#222222", "#b01030", "#7a7a7a"
_MAX_LABELS = 30


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(os.fspath(path), dpi=110)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be written: {error}") from None
    finally:
        pyplot.close(figure)


def _style(axes: Any, label: str) -> None:
    axes.set_ylabel(label)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plot_latency(path: Path, title: str, timing: Timing, series: Series) -> None:
    """Error over time; both positions against a straight clock; events."""
    figure, (top, middle, bottom) = pyplot.subplots(
        3, 1, sharex=True, figsize=(10, 8), height_ratios=(4, 3, 1.2), layout="constrained"
    )
    known = timing.error_median_frames is not None
    figure.suptitle(title)
    top.plot(series.time, series.deviation, ".", markersize=3, color=_ERROR)
    centre = (timing.error_median_frames or 0.0) if known else 0.0
    reach = _reach(series.deviation[series.time >= timing.settle_sec] - centre)
    top.set_ylim(centre - reach, centre + reach)
    if known:
        for level in (-2, 2):
            top.axhline(level, color=_LIMIT, linestyle="--", linewidth=0.9)
        top.axhline(0, color=_LIMIT, linewidth=0.9)
        what = "error of the told\nround trip (frames)"
        beyond = np.abs(series.deviation - centre) > reach
        if np.any(beyond):
            top.plot(
                series.time[beyond],
                centre + np.sign(series.deviation[beyond] - centre) * reach * 0.97,
                "x",
                color=_EVENT,
                label=f"{np.count_nonzero(beyond)} beyond the scale",
            )
            top.legend(loc="upper right", frameon=False)
    else:
        what = "told path less\nits median (frames)"
    _style(top, what)
    if timing.settle_sec > 0:
        top.axvspan(0, timing.settle_sec, color="#eeeeee", zorder=0)
        top.annotate(
            "settling, not counted",
            (0.0, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -12),
            textcoords="offset points",
            fontsize=8,
            color="#666666",
        )

    for time, residual, color, name, ppm in (
        (series.play_time, series.play_residual, _PLAY, "playback", timing.play_clock_ppm),
        (
            series.capture_time,
            series.capture_residual,
            _CAPTURE,
            "capture",
            timing.capture_clock_ppm,
        ),
    ):
        middle.plot(time, residual, "-", linewidth=1, color=color, label=f"{name}, {ppm:+.1f} ppm")
    settled = np.concatenate(
        [
            series.play_residual[series.play_time >= timing.settle_sec],
            series.capture_residual[series.capture_time >= timing.settle_sec],
        ]
    )
    limit = _reach(settled)
    middle.set_ylim(-limit, limit)
    middle.legend(loc="upper right", frameon=False, ncols=2)
    _style(middle, "told position less a\nstraight line (frames)")

    for at, frames in series.steps:
        bottom.plot([at, at], [0, 1], color=_EVENT, linewidth=1.5)
        if len(series.steps) <= _MAX_LABELS:
            bottom.annotate(f"{frames:+.0f}", (at, 1), fontsize=8, color=_EVENT)
    for at in series.jumps:
        bottom.plot([at, at], [-1, 0], color=_PLAY, linewidth=1.2)
    bottom.axhline(0, color=_LIMIT, linewidth=0.6)
    bottom.set_ylim(-1.4, 1.8)
    bottom.set_yticks([-0.5, 0.5], ["told time\njumped", "frames skipped\nor repeated"])
    bottom.set_xlabel("time (s)")
    _style(bottom, "events")
    if not series.steps and not series.jumps:
        bottom.text(0.5, 0.6, "none", transform=bottom.transAxes, color="#666666")
    _save(figure, path)


def _reach(values: Any) -> float:
    """Half the height of a scale that shows nearly all values and the limits of two frames."""
    if not len(values):
        return 3.0
    return max(3.0, 1.3 * float(np.percentile(np.abs(values), 99.5)))


def plot_aec(
    path: Path,
    title: str,
    phases: Phases,
    curves: Mapping[str, Sequence[Curves]],
    rate: int,
) -> None:
    """ERLE over time and the echo path's delay over time, all runs, each path in its colour."""
    figure, (top, bottom) = pyplot.subplots(
        2, 1, sharex=True, figsize=(10, 7), height_ratios=(3, 2), layout="constrained"
    )
    figure.suptitle(title)
    for color, (name, runs) in zip((_CAPTURE, _PLAY), curves.items(), strict=False):
        for number, run in enumerate(runs):
            label = name if number == 0 else None
            top.plot(run.time, run.erle, color=color, linewidth=1.1, alpha=0.75, label=label)
            if len(run.delay):
                change = (run.delay - np.median(run.delay)) * 1000 / rate
                bottom.plot(run.delay_time, change, ".-", color=color, markersize=4, linewidth=0.8)
    for axes in (top, bottom):
        axes.axvspan(phases.double_talk_sec, phases.again_sec, color="#eeeeee", zorder=0)
    top.annotate(
        "both speak",
        (phases.double_talk_sec, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -12),
        textcoords="offset points",
        fontsize=8,
        color="#666666",
    )
    top.legend(loc="upper right", frameon=False)
    _style(top, "ERLE (dB)")
    _style(bottom, "echo path's delay less\nits median (ms)")
    low, high = bottom.get_ylim()
    bottom.set_ylim(min(low, -0.5), max(high, 0.5))
    bottom.set_xlabel("time (s)")
    _save(figure, path)
