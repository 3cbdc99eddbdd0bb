"""Both halves of a stream and the virtual device in C, built with sanitizers and run (tests/c/).

Time is simulated: --wrap puts the tests' clock under the unchanged sources. test_stream_kernel
plays against a model of Linux's frontend, test_stream_pair joins both halves, test_stream_threads
alone runs on real threads and real time. The twins at the end prove that each rule is needed: a
copy of the source without it must be caught.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from xenpvaudio.pcm import BACKEND_PCM, Asked, PcmState
from xenpvaudio.sndif import Trigger

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "pw_module" / "src"
TESTS = ROOT / "tests" / "c"
CFLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread"]
MEMORY = "address,undefined"
THREAD = "thread"

CORE = ["ring.c", "clock.c", "loop.c", "xen_io.c", "plane.c", "timeline.c", "silence.c", "peer.c"]
BACK = [
    "back_life.c",
    "stream_back.c",
    "tap.c",
    "back_data.c",
    "back_position.c",
    "back_start.c",
    "back_trouble.c",
    "host_vdev.c",
]
FRONT = [
    "front_life.c",
    "stream_front.c",
    "front_position.c",
    "front_time.c",
    "front_data.c",
    "guard.c",
]
NODE = [
    "converter.c",
    "overdue.c",
    "pw_cycle.c",
    "pw_drive.c",
    "pw_follow.c",
    "pw_graph.c",
    "pw_lead.c",
]
TIME = ["xpa_now_nsec", "xpa_timer_set", "xpa_loop_add", "xpa_loop_remove"]

# program -> sources, functions that the test stands in front of
PROGRAMS = {
    "test_timeline": (["timeline.c"], []),
    "test_front_time": (["clock.c", "peer.c", "front_time.c"], []),
    "test_stream_back": ([*CORE, *BACK], TIME),
    "test_stream_kernel": ([*CORE, *BACK], TIME),
    "test_stream_front": ([*CORE, *FRONT], TIME),
    "test_stream_pair": ([*CORE, *BACK, *FRONT], [*TIME, "xpa_back_mark"]),
    "test_pw_cycle": ([*CORE, *BACK, *FRONT, *NODE], TIME),
    "test_stream_threads": ([*CORE, *BACK], []),
}


def _pipewire_headers() -> list[str]:
    found = ["pkg-config", "--cflags", "libpipewire-0.3"]
    done = subprocess.run(found, capture_output=True, text=True, check=False)
    return done.stdout.replace("-I", "-isystem").split()


PIPEWIRE = _pipewire_headers()
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)
TRIGGER = re.compile(r"^trigger (\w+) (\d+) (-?\d+) (\w+)$", re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for object files of unchanged sources: many programs share them."""
    return tmp_path_factory.mktemp("objects")


def compile_object(source: Path, target: Path, *flags: str) -> Path:
    if not target.exists():
        includes = [f"-I{SOURCES}", f"-I{TESTS}", *PIPEWIRE]
        command = ["cc", *CFLAGS, *flags, *includes, "-c", str(source)]
        done = subprocess.run(
            [*command, "-o", str(target)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return target


def build(name: str, sanitizer: str, objects: Path, twin: Path | None = None) -> Path:
    """Compile tests/c/<name>.c and link it; `twin` takes the place of the source of its name."""
    sources, wrapped = PROGRAMS[name]
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"] if sanitizer else []
    suffix = f"-{sanitizer}.o"
    parts = [compile_object(TESTS / f"{name}.c", objects / f"{name}{suffix}", *flags)]
    for source in sources:
        if twin is not None and twin.name == source:  # what is cut out may leave something unused
            parts.append(compile_object(twin, twin.with_suffix(".o"), *flags, "-Wno-unused"))
        else:
            parts.append(compile_object(SOURCES / source, objects / f"{source}{suffix}", *flags))
    program = (objects if twin is None else twin.parent) / f"{name}-{sanitizer}"
    wraps = [f"-Wl,--wrap={function}" for function in wrapped]
    command = ["cc", *CFLAGS, *flags, *wraps, *map(str, parts), "-lm", "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path) -> subprocess.CompletedProcess[str]:
    # the limit only ends a hang; nothing is timed
    return subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(
    ("name", "sanitizer"),
    [*((name, MEMORY) for name in PROGRAMS), ("test_stream_threads", THREAD)],
    ids=lambda value: value.split(",")[0],
)
def test_stream_program_passes(name: str, sanitizer: str, objects: Path) -> None:
    done = run(build(name, sanitizer, objects))
    print(done.stdout[-2000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    closing = CLOSING.search(done.stdout)
    assert closing is not None, done.stdout
    assert int(closing[1]) > 0
    assert int(closing[2]) == 0


def test_triggers_in_c_follow_the_table_in_python(objects: Path) -> None:
    done = run(build("test_stream_back", MEMORY, objects))
    rows = TRIGGER.findall(done.stdout)
    names = {
        Trigger.START: Asked.START,
        Trigger.PAUSE: Asked.PAUSE,
        Trigger.STOP: Asked.STOP,
        Trigger.RESUME: Asked.RESUME,
    }
    seen = set()
    for state, number, status, after in rows:
        known = int(number) in [int(trigger) for trigger in Trigger]
        what = names[Trigger(int(number))] if known else Asked.BAD_TRIGGER
        step = BACKEND_PCM[PcmState(state)][what]
        assert (int(status), after) == (int(step.status), step.next.value), (state, what)
        seen.add((state, what))
    assert len(seen) == len(PcmState) * (len(names) + 1)


# (program, file, what is changed, into what). Each text occurs exactly once.
TWINS = {
    "node_waits_200_ms_for_a_lost_cycle": (
        "test_pw_cycle", "overdue.c",
        "uint64_t patience = most(", "uint64_t patience = 200000000 + most(",
    ),
    "node_waits_for_no_client": (
        "test_pw_cycle", "pw_graph.c",
        "xpa_overdue_start(&n->cycle, now_nsec, returns);", "(void)returns;",
    ),
    "node_forgets_that_a_lost_cycle_comes_back": (
        "test_pw_cycle", "pw_graph.c",
        "n->cycle.lost && n->version < RECOVERS_LATER_BEFORE ? 2 : 1",
        "n->version < RECOVERS_LATER_BEFORE ? 1 : 1",
    ),
    "node_tells_the_time_of_a_lost_cycle_again": (
        "test_pw_cycle", "pw_drive.c",
        "frame += xpa_graph_now(n).step_frames;", "frame += 0;",
    ),
    "node_hurries_while_the_converter_needs_nothing": (
        "test_pw_cycle", "pw_graph.c",
        "n->served = n->processed != before;", "n->served = before <= n->processed;",
    ),
    "node_gives_what_was_asked_for_after_the_last_cycle": (
        "test_pw_cycle", "pw_graph.c",
        "n->rate_match->size = xpa_graph_need(n, q);", "n->rate_match->size += 0;",
    ),
    "node_gives_the_lead_back_at_once": (
        "test_pw_cycle", "pw_lead.c",
        "SPA_MIN(n->surplus_frames, SHRINK_FRAMES)", "n->surplus_frames",
    ),
    "node_keeps_a_lead_that_grew": (
        "test_pw_cycle", "pw_lead.c",
        "    n->surplus_frames += less;", "",
    ),
    "node_shrinks_the_lead_under_a_follower": (
        "test_pw_cycle", "pw_lead.c",
        "n->surplus_frames == 0 || is_followed(n)", "n->surplus_frames == 0",
    ),
    "events_exactly_a_period_apart": (
        "test_stream_kernel", "back_position.c",
        "b->next_event_frames = (b->reported_frames / period + 1) * period + 1;",
        "b->next_event_frames = (b->reported_frames / period + 1) * period;",
    ),
    "id_taken_by_an_event_that_was_not_queued": (
        "test_stream_kernel", "back_position.c",
        "b->stats.events_skipped++;", "b->stats.events_skipped++, b->event_id++;",
    ),
    "ids_since_the_connection_alone": (
        "test_stream_kernel", "back_position.c",
        "b->position_ext || since_open == b->event_id ? 1 : 2;", "1;",
    ),
    "ids_since_open_alone": (
        "test_stream_kernel", "back_position.c",
        "slots[0].id = b->event_id;", "slots[0].id = since_open;",
    ),
    "ids_do_not_begin_anew_at_open": (
        "test_stream_kernel", "back_life.c", "b->open_event_id = b->event_id;", "",
    ),
    "half_of_a_position_is_queued": (
        "test_stream_kernel", "ring.c", "if (unread + i >= (", "if (unread >= (",
    ),
    "known_frontend_gets_every_position_twice": (
        "test_stream_back", "back_position.c", "b->position_ext || since_open", "since_open",
    ),
    "stop_does_not_round_up": (
        "test_stream_kernel", "back_position.c",
        "((uint64_t)ceil(position) + buffer - 1) / buffer * buffer", "(uint64_t)ceil(position)",
    ),
    "stop_restarts_at_0": (
        "test_stream_kernel", "back_position.c",
        "((uint64_t)ceil(position) + buffer - 1) / buffer * buffer", "0 * buffer",
    ),
    "starved_position_stops_at_the_last_frame": (
        "test_stream_kernel", "back_position.c",
        "guest = fmin(guest, starved_limit(b));", "guest = (double)b->written_frames;",
    ),
    "backend_keeps_a_gap_to_itself": (
        "test_stream_back", "back_position.c",
        "b->ahead_known && fabs(ahead - b->ahead_frames) > 0.5", "false",
    ),
    "frontend_takes_a_gap_for_a_slower_clock": (
        "test_stream_front", "front_position.c",
        "f->starved || ext.age_nsec & AFTER_GAP", "f->starved",
    ),
    "starved_position_runs_for_ever": (
        "test_stream_back", "back_position.c",
        "guest = fmin(guest, starved_limit(b));", "",
    ),
    "starved_by_silence_long_over": (
        "test_stream_back", "back_position.c",
        "xpa_timeline_in_gap(&b->timeline, b->host_frames);", "b->timeline.gap_count > 0;",
    ),
    "timer_looks_at_a_time_that_has_passed": (
        "test_stream_back", "back_position.c",
        "if (host > (double)b->host_frames)", "if (0)",
    ),
    "position_of_what_was_taken_instead_of_heard": (
        "test_stream_kernel", "back_position.c",
        "return heard < limit ? heard : limit;", "return limit;",
    ),
    "capture_position_ahead_of_data": (
        "test_stream_back", "back_position.c",
        "return heard < limit ? heard : limit;", "return heard + 2000;",
    ),
    "broken_event_ring_goes_unnoticed": (
        "test_stream_back", "back_position.c", "if (result != -ENOSPC)", "if (0)",
    ),
    "write_past_the_end": (
        "test_stream_back", "back_data.c",
        "length_bytes > buffer_bytes - offset_bytes", "offset_bytes + length_bytes > buffer_bytes",
    ),
    "write_of_half_a_frame": (
        "test_stream_back", "back_data.c",
        "if (offset_bytes % b->frame_bytes || length_bytes % b->frame_bytes)", "if (0)",
    ),
    "write_into_a_full_fifo": (
        "test_stream_back", "back_data.c", "        return -ENOSPC;", "        (void)0;",
    ),
    "prepare_without_stop_appends": (
        "test_stream_kernel", "back_data.c", "        back = buffer;", "        back = 0;",
    ),
    "suspended_guest_goes_on_where_it_was": (
        "test_stream_kernel", "back_data.c", "if (b->paused && offset == 0)", "if (0)",
    ),
    "rewind_forgets_what_was_taken": (
        "test_stream_back", "back_data.c",
        "uint32_t skip = late < frames ? (uint32_t)late : frames;", "uint32_t skip = 0;",
    ),
    "silence_moves_the_position": (
        "test_stream_back", "timeline.c", "guest -= into < length ? into : length;", "",
    ),
    "overflowing_timeline_is_early": (
        "test_timeline", "timeline.c", "        join_oldest(t);", "        fold_oldest(t);",
    ),
    "slow_request_is_overtaken": (
        "test_stream_back", "stream_back.c",
        "b->waiting = true;\n        xpa_plane_notify", "xpa_plane_notify",
    ),
    "triggers_flood_the_notices": (
        "test_stream_back", "stream_back.c", "return b->trigger_unread;", "return false;",
    ),
    "late_answer_makes_linux_deaf": (
        "test_stream_back", "stream_back.c",
        "xpa_back_ring_publish(&b->ring) || insist", "xpa_back_ring_publish(&b->ring)",
    ),
    "start_does_not_wait_for_the_host": (
        "test_stream_back", "back_start.c",
        "b->host_seen_nsec == 0 || now_nsec", "false && now_nsec",
    ),
    "start_waits_for_ever": (
        "test_stream_back", "back_start.c",
        "HOST_START_NSEC = 1500000000", "HOST_START_NSEC = 4000000000",
    ),
    "broken_stream_is_not_left_alone": (
        "test_stream_back", "back_life.c",
        "    b->broken = true;\n    if (b->open && b->running)",
        "    if (b->open && b->running)",
    ),
    "dead_frontend_is_not_looked_for": (
        "test_stream_back", "back_life.c", "else if (b->watches && ", "else if (0 && ",
    ),
    "octet_that_nobody_asked_about_counts": (
        "test_stream_back", "back_life.c", "b->watches = b->watches && xpa", "b->watches = xpa",
    ),
    "octet_that_was_never_set_counts": (
        "test_stream_back", "back_life.c",
        "    b->watches = b->watches && xpa_evt_ring_front_lives(&b->event_ring);", "",
    ),
    "loopback_without_its_quantum": (
        "test_stream_pair", "host_vdev.c",
        "uint64_t behind = v->quantum_frames + v->delay_frames;",
        "uint64_t behind = v->delay_frames;",
    ),
    "late_positions_are_believed": (
        "test_stream_front", "front_position.c",
        "return position >= from && position - from <=", "return true || position - from <=",
    ),
    "garbage_is_believed": (
        "test_stream_front", "front_position.c",
        "return position >= from && position - from <=", "return position >= from || from <",
    ),
    "restart_at_0_goes_unnoticed": (
        "test_stream_front", "front_position.c", "        move_base(f, 0);", "        (void)0;",
    ),
    "insisting_backend_is_ignored": (
        "test_stream_front", "front_position.c", "++f->odd_positions < ODD_POSITIONS", "true",
    ),
    "late_answer_wakes_nobody": (
        "test_stream_front", "stream_front.c",
        "f->awaited > 0 || late ||", "f->awaited > 0 ||",
    ),
    "trigger_waits_for_the_host": (
        "test_stream_front", "stream_front.c",
        "    xpa_front_ring_publish(&f->ring);\n    xpa_channel_notify(&f->request_channel);",
        "    if (xpa_front_ring_publish(&f->ring))\n"
        "        xpa_channel_notify(&f->request_channel);",
    ),
    "guard_is_no_more_than_a_period": (
        "test_stream_front", "front_life.c",
        "return usual > least ? usual : least;", "return least == 0 || usual > 0 ? usual : least;",
    ),
    "guard_of_a_capture_is_a_period": (
        "test_stream_front", "front_life.c",
        "direction == XPA_CAPTURE ? period_frames / 4", "0 ? 0",
    ),
    "lead_forgets_that_it_grew": (
        "test_stream_front", "guard.c",
        "g->frames = grown > base_frames ? grown : base_frames;",
        "g->frames = grown > 0 ? base_frames : base_frames;",
    ),
    "answer_is_awaited_twice": (
        "test_stream_front", "stream_front.c",
        "if (newest->timed || newest->answered || newest->operation == XENSND_OP_TRIGGER)",
        "if (newest->answered)",
    ),
    "answer_to_a_trigger_wakes_nobody": (
        "test_stream_front", "stream_front.c", "f->awaited > 0 || late ||", "late ||",
    ),
    "stuck_host_is_blamed_unasked": (
        "test_stream_front", "front_life.c",
        "        xpa_front_urge(f);\n}", "        (void)now;\n}",
    ),
    "any_frontend_waits_for_the_host": (
        "test_stream_back", "stream_back.c",
        "return b->position_ext && taken_by_host ?", "return taken_by_host ?",
    ),
    "stopped_stream_wants_to_hear_of_nothing": (
        "test_stream_back", "stream_back.c",
        "b->direction == XPA_PLAYBACK && b->running && !b->paused;",
        "b->direction == XPA_PLAYBACK;",
    ),
    "every_write_is_told": (
        "test_stream_back", "stream_back.c", "? QUIET_REQUESTS : 1;", "? 1 : 1;",
    ),
    "full_ring_is_not_told": (
        "test_stream_back", "stream_back.c",
        "QUIET_REQUESTS = XPA_RING_SLOTS / 2", "QUIET_REQUESTS = XPA_RING_SLOTS + 1",
    ),
    "way_of_an_event_is_added": (
        "test_stream_front", "front_time.c",
        "- xpa_transport_nsec(&f->peer->transport),", "+ xpa_transport_nsec(&f->peer->transport),",
    ),
    "events_count_when_they_arrive": (
        "test_front_time", "front_time.c",
        "bool timed = their_nsec > XPA_MAX_AGE_NSEC &&", "bool timed = false &&",
    ),
    "any_time_is_believed": (
        "test_front_time", "front_time.c", "        timed = credible(f, their_nsec, now_nsec);", "",
    ),
    "time_leaps_when_it_is_known_better": (
        "test_front_time", "peer.c", "fabs(leap_nsec) < LEAP_NSEC ? leap_nsec : 0", "0",
    ),
    "way_of_any_event_is_added": (
        "test_front_time", "peer.c",
        "now_nsec - xpa_transport_nsec(&p->transport)",
        "now_nsec + xpa_transport_nsec(&p->transport)",
    ),
    "backends_share_a_clock": (
        "test_front_time", "peer.c", "p->streams > 0 && p->domain == domain", "p->streams > 0",
    ),
    "next_backend_finds_the_last_ones_clock": (
        "test_front_time", "peer.c", "        xpa_peer_begin(unused);", "",
    ),
    "stream_does_not_know_its_backend": (
        "test_stream_front", "front_life.c", "    f->backend_id = backend_id;", "",
    ),
    "event_does_not_say_when_it_was_sent": (
        "test_stream_back", "back_position.c", ".time_low_nsec = (uint32_t)now_nsec,", "",
    ),
    "frontend_does_not_read_when_it_was_sent": (
        "test_stream_front", "front_position.c",
        "xpa_front_time_sent(f, sent_nsec, now_nsec);", "(void)sent_nsec;",
    ),
    "transfers_take_every_slot": (
        "test_stream_front", "stream_front.c", "RESERVED_SLOTS = 4", "RESERVED_SLOTS = 0",
    ),
    "starvation_goes_unnoticed": (
        "test_stream_front", "front_position.c",
        "f->direction == XPA_PLAYBACK && position > f->written_frames;", "false;",
    ),
    "unread_capture_is_kept": (
        "test_stream_front", "front_data.c", "    f->read_frames = oldest;", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("twin", TWINS)
def test_stream_program_catches_its_twin(twin: str, objects: Path, tmp_path: Path) -> None:
    name, file, original, changed = TWINS[twin]
    text = (SOURCES / file).read_text()
    assert text.count(original) == 1, f"{original!r} is not once in {file}: update the twin"
    mutated = tmp_path / file
    mutated.write_text(text.replace(original, changed))
    done = run(build(name, MEMORY, objects, mutated))
    assert done.returncode != 0, f"{name} did not notice"
