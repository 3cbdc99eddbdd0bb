"""The C core alone: rings, queue, loop and clock, built with sanitizers and run.

Each program prints its figures and a closing line 'N passed, N failed'. The twins at the end prove
that the programs can fail: a copy of the source with one sign or one barrier inverted must be
caught.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from objects import compiled, run
from pw_module.ahead import Done, ahead, chosen, run_program
from pw_module.poll_twins import RING_POLL_TWINS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "pw_module" / "src"
TESTS = ROOT / "tests" / "pw_module"
CFLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread"]
MEMORY = "address,undefined"
THREAD = "thread"

FRONT = [
    "xen/ring.c",
    "xen/xen_io.c",
    "base/loop.c",
    "base/memory.c",
    "base/budget.c",
    "base/silence.c",
    "plane/plane.c",
    "time/clock.c",
    "time/margin.c",
    "time/peer_clock.c",
    "front/commands.c",
    "front/control.c",
    "front/data.c",
    "front/life.c",
    "front/poll.c",
    "front/position.c",
    "front/requests.c",
    "front/rest.c",
    "front/time.c",
]

PROGRAMS = [
    ("test_ring", ["xen/ring.c"], MEMORY),
    ("test_ring_oracle", ["xen/ring.c"], MEMORY),
    ("test_ring_threads", ["xen/ring.c"], MEMORY),
    ("test_ring_threads", ["xen/ring.c"], THREAD),
    ("test_queue", [], MEMORY),
    ("test_queue", [], THREAD),
    ("test_loop", ["base/loop.c"], MEMORY),
    ("test_loop", ["base/loop.c"], THREAD),
    ("test_front_threads", FRONT, THREAD),
    ("test_bounds", ["base/silence.c"], MEMORY),
    ("test_clock", ["time/clock.c"], MEMORY),
    ("test_converter", ["time/converter.c"], MEMORY),
    ("test_jitter", [], MEMORY),
    ("test_margin", ["time/margin.c"], MEMORY),
    ("test_overdue", ["time/overdue.c"], MEMORY),
]

CLOSING = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def program_source(name: str) -> Path:
    """The test program of that name, in whichever room it is."""
    (source,) = TESTS.glob(f"*/{name}.c")
    return source


def compile_program(
    name: str, sources: list[str], sanitizer: str, out: Path, twins: Path | None = None
) -> Path:
    """Compile the test of that name into out; what is in `twins` takes the place of sources and
    headers of its name."""
    program = out / f"{name}-{sanitizer.split(',')[0] or 'plain'}"
    flags = [*CFLAGS]
    if sanitizer:
        flags += [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    if sanitizer == THREAD:
        # It takes no account of fences, and gcc warns of each: what it finds is between the two
        # sides of a release and an acquire.
        flags.append("-Wno-tsan")
    headers = [*([twins] if twins else []), SOURCES, TESTS / "rig"]
    found = [program_source(name)]
    for source in sources:
        twin = twins / source if twins else None
        found.append(twin if twin and twin.exists() else SOURCES / source)
    parts = [str(compiled(source, ["cc", *flags], headers)) for source in found]
    run(["cc", *flags, *parts, "-lm", "-o", str(program)])
    return program


@pytest.mark.parametrize(
    ("name", "sources", "sanitizer"),
    PROGRAMS,
    ids=[f"{name}-{sanitizer.split(',')[0]}" for name, _, sanitizer in PROGRAMS],
)
def test_c_program_passes(name: str, sources: list[str], sanitizer: str, tmp_path: Path) -> None:
    done = run_program(compile_program(name, sources, sanitizer, tmp_path))
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    closing = CLOSING.search(done.stdout)
    assert closing is not None, done.stdout
    assert int(closing[1]) > 0
    assert int(closing[2]) == 0


# (program, sources, sanitizer, file, what is changed, into what). Each text occurs exactly once,
# so that an edit of the source cannot silently switch a twin off.
TWINS = {
    "jitter_counts_what_all_are_late_by": (
        "test_jitter", [], "", "base/jitter.h",
        "late_nsec - j->mean_nsec;", "late_nsec;",
    ),
    "clock_phase_correction_inverted": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "c->ref_phase += gain_phase * error;", "c->ref_phase -= gain_phase * error;",
    ),
    "clock_slope_correction_inverted": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "c->slope_ppb += gain_slope * error;", "c->slope_ppb -= gain_slope * error;",
    ),
    "clock_covariance_inverted": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "c->p_cross += dt * c->p_slope;", "c->p_cross -= dt * c->p_slope;",
    ),
    "clock_fading_inverted": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "1.0 + TWO_PI * bandwidth * dt", "1.0 - TWO_PI * bandwidth * dt",
    ),
    "clock_bias_correction_inverted": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "error - bias,", "error + bias,",
    ),
    "clock_late_start_correction_inverted": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "c->ref_phase += error;", "c->ref_phase -= error;",
    ),
    "clock_trusts_the_very_earliest_mark": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "#define EARLY_SHARE 0.125", "#define EARLY_SHARE 0.0",
    ),
    "clock_follows_the_latest_mark": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "error < c->early[at - 1].error_nsec;", "error > c->early[at - 1].error_nsec;",
    ),
    "clock_ppm_sign_inverted": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "(1.0 / (1.0 + c->slope_ppb * 1e-9) - 1.0)", "(1.0 - 1.0 / (1.0 + c->slope_ppb * 1e-9))",
    ),
    "clock_residual_inverted": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "error = (double)(int64_t)(time_nsec - c->ref_nsec) - line_at(c, position_frames);",
        "error = line_at(c, position_frames) - (double)(int64_t)(time_nsec - c->ref_nsec);",
    ),
    "clock_without_clamp": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "error = fmin(fmax(error, -limit), limit);", "",
    ),
    "clock_is_pulled_to_where_it_has_leapt": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "if (gross || leaps(c, error))", "(void)leaps;\n    if (gross)",
    ),
    "clock_leaps_by_marks_on_either_side": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "(error > 0) != c->run_late) {", "false) {",
    ),
    "clock_relocks_at_sixteen_late_marks": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "c->run_marks < RELOCK_MARKS || frames_nsec < RELOCK_NSEC", "c->run_marks < RELOCK_MARKS",
    ),
    "clock_trusts_bursts": (
        "test_clock", ["time/clock.c"], "", "time/clock.c",
        "if (fabs(elapsed_nsec - frames_nsec) <=", "if (elapsed_nsec >= 0 || frames_nsec <=",
    ),
    "ring_request_without_overflow_check": (
        "test_ring", ["xen/ring.c"], "", "xen/ring.c",
        "if (ready > XPA_RING_SLOTS - xpa_back_ring_unanswered(r))", "if (ready > 0x7fffffff)",
    ),
    "ring_response_without_overflow_check": (
        "test_ring", ["xen/ring.c"], "", "xen/ring.c",
        "if (ready > r->req_prod_pub - r->rsp_cons)", "if (ready > XPA_RING_SLOTS)",
    ),
    "ring_event_slots_without_wrap_rule": (
        "test_ring", ["xen/ring.c"], "", "xen/ring.c",
        "r->in_prod + i < wrap_slots ? wrap_slots",
        "r->in_prod + i < wrap_slots ? XPA_EVT_RING_SLOTS",
    ),
    "ring_notifies_one_late": (
        "test_ring_oracle", ["xen/ring.c"], "", "xen/ring.c",
        "return new_prod - event < new_prod - old_prod;",
        "return new_prod - event <= new_prod - old_prod;",
    ),
    "ring_publishes_without_release": (
        "test_ring_threads", ["xen/ring.c"], THREAD, "xen/ring.c",
        "store_release(p, value);",
        "__atomic_store_n(p, value, __ATOMIC_RELAXED);",
    ),
    "ring_events_without_release": (
        "test_ring_threads", ["xen/ring.c"], THREAD, "xen/ring.c",
        "__atomic_store_n(p, value, __ATOMIC_RELEASE)",
        "__atomic_store_n(p, value, __ATOMIC_RELAXED)",
    ),
    "ring_consumes_without_acquire": (
        "test_ring_threads", ["xen/ring.c"], THREAD, "xen/ring.c",
        "__atomic_load_n(p, __ATOMIC_ACQUIRE)", "__atomic_load_n(p, __ATOMIC_RELAXED)",
    ),
    "queue_push_without_release": (
        "test_queue", [], THREAD, "base/queue.h",
        "atomic_store_explicit(&q->tail, tail + 1, memory_order_release);",
        "atomic_store_explicit(&q->tail, tail + 1, memory_order_relaxed);",
    ),
    "queue_pop_without_release": (
        "test_queue", [], THREAD, "base/queue.h",
        "atomic_store_explicit(&q->head, head + 1, memory_order_release);",
        "atomic_store_explicit(&q->head, head + 1, memory_order_relaxed);",
    ),
    "figures_are_not_atomic": (
        "test_front_threads", FRONT, THREAD, "plane/stats.h",
        "#define XPA_LIVE_FIELD(type, name) _Atomic type name;",
        "#define XPA_LIVE_FIELD(type, name) type name;",
    ),
    "buffer_is_given_back_before_the_stream_is_closed": (
        "test_front_threads", FRONT, THREAD, "front/commands.c",
        "    xpa_front_release(f);\n"
        "    xpa_plane_notify(f->plane, XPA_NOTICE_RELEASED, f->id, 0, NULL);",
        "    xpa_plane_notify(f->plane, XPA_NOTICE_RELEASED, f->id, 0, NULL);",
    ),
    "converter_is_given_what_it_asked_for": (
        "test_converter", ["time/converter.c"], "", "time/converter.c",
        "if (c->step_frames == step_frames && c->resamples == resamples)", "if (asked_frames > 0)",
    ),
    "converter_left_over_is_given_again": (
        "test_converter", ["time/converter.c"], "", "time/converter.c",
        "ceil(step_frames - left)", "ceil(step_frames)",
    ),
    "margin_stays": (
        "test_margin", ["time/margin.c"], "", "time/margin.c",
        "if (g->frames <= g->base_frames ||", "if (g->frames > 0 ||",
    ),
    "margin_comes_back_though_it_is_needed": (
        "test_margin", ["time/margin.c"], "", "time/margin.c",
        "if (frames > NEEDED_PART * half(g))", "if (frames > NEEDED_PART * g->frames)",
    ),
    "margin_waits_no_longer_the_next_time": (
        "test_margin", ["time/margin.c"], "", "time/margin.c",
        "g->wait_nsec = 2 * (", "g->wait_nsec = (",
    ),
    "overdue_after_200_ms": (
        "test_overdue", ["time/overdue.c"], "", "time/overdue.c",
        "if (now_nsec < o->started_nsec + patience)", "patience = 200000000;\n"
        "        if (now_nsec < o->started_nsec + patience)",
    ),
    "overdue_without_a_sign_that_it_is_lost": (
        "test_overdue", ["time/overdue.c"], "", "time/overdue.c",
        "!xpa_overdue_lately(links_nsec, o->started_nsec)", "links_nsec > LATELY_NSEC + now_nsec",
    ),
    "overdue_at_the_first_look": (
        "test_overdue", ["time/overdue.c"], "", "time/overdue.c",
        "o->again_nsec = now_nsec + moment;", "o->again_nsec = now_nsec;",
    ),
    "overdue_slow_ones_are_lost": (
        "test_overdue", ["time/overdue.c"], "", "time/overdue.c",
        "2 * o->slow_nsec)", "0 * o->slow_nsec)",
    ),
    "overdue_waits_for_ever_for_slow_ones": (
        "test_overdue", ["time/overdue.c"], "", "time/overdue.c",
        "most(least(patience, most(quantum_nsec, ahead)), moment)", "most(patience, moment)",
    ),
    "loop_forgets_to_strike_removed_sources": (
        "test_loop", ["base/loop.c"], MEMORY, "base/loop.c",
        "if (batch[i].data.ptr == src)", "if (batch[i].data.ptr == NULL)",
    ),
    **RING_POLL_TWINS,
}  # fmt: skip


def run_twin(twin: str, folder: Path) -> Done:
    name, sources, sanitizer, file, original, changed = TWINS[twin]
    mutated = folder / twin / "src"
    text = (SOURCES / file).read_text()
    assert text.count(original) == 1, f"{original!r} is not once in {file}: update the twin"
    (mutated / file).parent.mkdir(parents=True)
    (mutated / file).write_text(text.replace(original, changed))
    program = compile_program(name, sources, sanitizer, folder / twin, mutated)
    return run_program(program, CHECK_ONCE="1")


@pytest.fixture(scope="module")
def twins(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Done]]]:
    folder = tmp_path_factory.mktemp("twins")
    names = [item.callspec.params["twin"] for item in chosen(request, test_twin_is_caught)]
    with ahead({name: partial(run_twin, name, folder) for name in names}) as futures:
        yield futures


@pytest.mark.parametrize("twin", TWINS)
def test_twin_is_caught(twin: str, twins: dict[str, Future[Done]]) -> None:
    assert twins[twin].result().returncode != 0, f"{TWINS[twin][0]} did not notice"
