"""The fuzzers' short round: so many inputs from one seed, whatever the machine's speed. And that
each of them can find something: a fault that is planted is found within that round.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from fuzz import __main__ as command
from fuzz import building, fuzzers, loop
from fuzz.targets import xenbus
from xenpvaudio.backend import policy
from xenpvaudio.frontend import volume
from xenpvaudio.sndif import card, page_directory, stream_rules, volume_ext
from xenpvaudio.sndif import volume as sndif_volume
from xenpvaudio.xen.real import xenstore, xs_link, xs_requests
from xenpvaudio.xen.sim import store, xenstored
from xenpvaudio.xenbus import availability, device
from xenpvaudio.xenbus.states import XenbusState

RUNS_IN_C = 1000
RUNS_IN_PYTHON = 1500
EXAMPLES = 20

# --- in C -----------------------------------------------------------------------------------------

# fuzzer, and what is changed: file, text, into what
PLANTED_IN_C = {
    "requests_past_the_ring": (
        "requests", "xen/ring.c",
        "if (ready > XPA_RING_SLOTS - xpa_back_ring_unanswered(r))", "if (ready > 0x7fffffff)",
    ),
    "write_past_the_end_of_the_buffer": (
        "requests", "back/data.c",
        "length_bytes > buffer_bytes - offset_bytes", "offset_bytes + length_bytes > buffer_bytes",
    ),
    "one_event_too_many": (
        "requests", "xen/ring.c", "if (unread + i >= (", "if (unread + i > (",
    ),
    "requests_overtake_a_slow_one": (
        "requests", "back/requests.c",
        "b->link.waiting = true;\n        xpa_plane_notify", "xpa_plane_notify",
    ),
    "no_rest_between_requests": (
        "requests", "back/requests.c", "if (result == 0 && rests(b, now_nsec))", "if (false)",
    ),
    "store_is_not_freed": (
        "requests", "back/life.c",
        "free(atomic_exchange(&b->shared.retired_store, b->stream.store));",
        "(void)atomic_exchange(&b->shared.retired_store, b->stream.store);",
    ),
    "any_number_of_channels": (
        "requests", "back/life.c", " || config->channels > XPA_MAX_CHANNELS", "",
    ),
    "responses_to_nothing": (
        "answers", "xen/ring.c",
        "if (ready > r->req_prod_pub - r->rsp_cons)", "if (ready > XPA_RING_SLOTS)",
    ),
    "events_past_the_ring": (
        "answers", "xen/ring.c",
        "    if (ready > XPA_EVT_RING_SLOTS)\n        return -EPROTO;\n", "",
    ),
    "transfer_answered_twice": (
        "answers", "front/requests.c",
        "if (t->id != response->id || t->answered)", "if (t->id != response->id)",
    ),
    "room_for_more_than_the_buffer_has": (
        "answers", "front/data.c",
        "return pending < buffer ? (uint32_t)(buffer - pending) : 0;",
        "return (uint32_t)(buffer - pending);",
    ),
    "more_captured_frames_than_the_buffer_has": (
        "answers", "front/data.c", "    skip_unread(f, end);\n", "",
    ),
    "more_frames_found_than_the_buffer_has": (
        "answers", "front/data.c", "    skip_unread(f, s->written_frames + quarter);\n", "",
    ),
    "counters_that_never_go_back_past_0": (
        "answers", "front/data.c",
        "    if (lost <= 0)\n", "    if (lost <= 0 || s->read_frames >= end_frames)\n",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if building.clang() is None:
        pytest.fail("clang with libFuzzer is missing: apt install clang libclang-rt-dev")
    return tmp_path_factory.mktemp("fuzzers")


def short_round(name: str, program: Path, tmp_path: Path) -> fuzzers.Result:
    found = tmp_path / "found"
    found.mkdir()
    crashes = tmp_path / "crashes"
    limit = fuzzers.Limit(runs=RUNS_IN_C)
    return fuzzers.run_command(
        name, fuzzers.c_command(program, name, limit, found, crashes), crashes
    )


@pytest.mark.parametrize("name", fuzzers.IN_C)
def test_no_peer_breaks_a_data_plane(name: str, folder: Path, tmp_path: Path) -> None:
    result = short_round(name, building.build(name, folder), tmp_path)
    print(result.row())
    assert not result.failed, result.output[-6000:]
    assert result.executions >= RUNS_IN_C
    assert result.operations > 10 * RUNS_IN_C  # the inputs do something


@pytest.mark.parametrize("planted", PLANTED_IN_C)
def test_a_fault_that_is_planted_in_c_is_found(planted: str, folder: Path, tmp_path: Path) -> None:
    """And the file that is named repeats it."""
    name, *change = PLANTED_IN_C[planted]
    program = building.build(name, folder, (change[0], change[1], change[2]))
    result = short_round(name, program, tmp_path)
    print(f"found after {result.executions} executions, {result.took_sec:.1f} s")
    assert result.failed, "it was not found"
    (crash,) = result.crashes
    again = subprocess.run([program, crash], capture_output=True, check=False)
    assert again.returncode != 0
    whole = subprocess.run([building.build(name, folder), crash], capture_output=True, check=False)
    assert whole.returncode == 0, "it is found without the fault, too"


def test_a_count_makes_as_many_operations_as_were_asked_for(folder: Path, tmp_path: Path) -> None:
    """And finds a fault that is planted; the fuzzer repeats it."""
    name, *change = PLANTED_IN_C["write_past_the_end_of_the_buffer"]
    planted = (change[0], change[1], change[2])
    for number, program in enumerate(
        (building.build_count(name, folder), building.build_count(name, folder, planted))
    ):
        crash, limit = tmp_path / f"crash{number}", fuzzers.Limit(operations=30_000)
        asked = fuzzers.count_command(program, name, limit, tmp_path, crash)
        result = fuzzers.run_command(name, asked, tmp_path)
        print(result.row())
        if number == 0:
            assert not result.failed and 30_000 <= result.operations < 40_000, result.output
        else:
            assert result.crashes == (crash,), result.output
    again = subprocess.run([building.build(name, folder, planted), crash], check=False)
    assert again.returncode != 0


# --- in Python ------------------------------------------------------------------------------------


def python_round(name: str, tmp_path: Path) -> bool:
    run = loop.target(name)
    stream = loop.inputs(loop.corpus_of(name), 1)
    return loop.run_inputs(
        name, run, stream, lambda done: done.executions < RUNS_IN_PYTHON, tmp_path
    )


@pytest.mark.parametrize("name", fuzzers.IN_PYTHON)
def test_no_input_breaks_a_parser(name: str, tmp_path: Path) -> None:
    assert python_round(name, tmp_path)


PLANTED_IN_PYTHON: dict[str, tuple[str, ModuleType, str, str]] = {
    "directory_goes_round": (
        "directory", page_directory, "if reference in visited:", "if False:",
    ),
    "directory_with_a_hole": ("directory", page_directory, "if NO_REF in refs:", "if False:"),
    "directory_goes_on": ("directory", page_directory, "while remaining:", "while reference:"),
    "period_longer_than_the_buffer": (
        "directory", stream_rules, " or request.period_bytes > request.buffer_bytes", "",
    ),
    "events_without_a_limit": (
        "directory", policy, "if period and config.rate > period *", "if False and 0 < 1 *",
    ),
    "text_that_forges_lines": ("card", card, "if not value.isprintable():", "if False:"),
    "volumes_of_more_channels_than_there_are": (
        "volume", volume_ext, "if channels > MAX_CHANNELS:", "if False:",
    ),
    "volumes_that_are_shown_as_they_come": (
        "volume", volume, "if self._tell_timer is None:", "if True:",
    ),
    "volume_without_a_most": ("volume", sndif_volume, "min(steps, LOUDEST_STEPS)", "steps"),
    "streams_without_a_path": (
        "availability", availability,
        "filter(None, text.split(LIST_SEPARATOR))", "text.split(LIST_SEPARATOR)",
    ),
    "availability_is_looked_at_at_any_time": (
        "availability", availability, "if now_sec < self._held_until_sec:", "if False:",
    ),
    "availability_is_told_again": (
        "availability", availability, "if found != self.unavailable:", "if True:",
    ),
    "numbers_from_0": ("card", card, "if not 1 <= number <= largest:", "if number > largest:"),
    "nodes_without_a_quota": (
        "store_daemon", store, "NODES_PER_DOMAIN = 1000", "NODES_PER_DOMAIN = 100000",
    ),
    "watches_without_a_quota": (
        "store_daemon", store, "WATCHES_PER_DOMAIN = 128", "WATCHES_PER_DOMAIN = 100000",
    ),
    "message_without_a_limit": (
        "store_daemon", xenstored, "if length > PAYLOAD_MAX:", "if length > 1 << 31:",
    ),
    "message_in_pieces": (
        "store_daemon", xenstored,
        "if len(self._buffer) < end:\n                return", "if False:\n                return",
    ),
    "client_takes_any_length": (
        "store_client", xs_link, "if length > PAYLOAD_MAX_BYTES:", "if length > 1 << 31:",
    ),
    "client_is_told_twice": (
        "store_client", xs_link,
        "answer = self._answers.pop(request_id, None)\n        if answer is not None:",
        "answer = self._answers.get(request_id)\n        if answer is not None:",
    ),
    "client_takes_any_name_for_an_error": (
        "store_client", xs_requests,
        "return code if isinstance(code, int) else errno.EIO", "return code",
    ),
    "client_takes_anything_for_a_number": (
        "store_client", xenstore,
        "Requests(link, number(answer, what),", 'Requests(link, int(answer.rstrip(b"\\0")),',
    ),
    "answer_of_another_type": ("store_client", xs_requests, "if kind != op:", "if kind is None:"),
}  # fmt: skip


@contextlib.contextmanager
def planted_in(module: ModuleType, original: str, changed: str) -> Iterator[None]:
    """The module as it would be with another text, also for who has imported its classes."""
    assert module.__file__ is not None
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert text.count(original) == 1, f"{original!r} is not once in {module.__name__}"
    before = dict(module.__dict__)
    methods: list[tuple[type, str, FunctionType]] = []
    try:
        exec(compile(text.replace(original, changed), module.__file__, "exec"), module.__dict__)
        for name, kind in before.items():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                for method, function in vars(kind).copy().items():
                    if isinstance(function, FunctionType) and not method.startswith("__"):
                        methods.append((kind, method, function))
                        setattr(kind, method, vars(module.__dict__[name])[method])
        yield
    finally:
        module.__dict__.clear()
        module.__dict__.update(before)
        for kind, method, function in methods:
            setattr(kind, method, function)


@pytest.mark.parametrize("planted", PLANTED_IN_PYTHON)
def test_a_fault_that_is_planted_in_python_is_found(planted: str, tmp_path: Path) -> None:
    name, module, original, changed = PLANTED_IN_PYTHON[planted]
    with planted_in(module, original, changed):
        assert not python_round(name, tmp_path), "it was not found"
        (crash,) = tmp_path.iterdir()
        with pytest.raises(Exception):  # noqa: B017
            loop.target(name)(crash.read_bytes())
    loop.target(name)(crash.read_bytes())


# --- both halves' devices -------------------------------------------------------------------------


@pytest.fixture
def ended_world() -> Iterator[None]:
    yield
    xenbus.close()


@pytest.mark.usefixtures("ended_world")
def test_nothing_written_in_xenstore_breaks_a_device() -> None:
    mutations = xenbus.drive(1, EXAMPLES)
    print(f"{mutations} mutations")
    assert mutations > 20 * EXAMPLES


@pytest.mark.usefixtures("ended_world")
def test_a_fault_that_is_planted_in_a_device_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "parse_state", lambda text: XenbusState(int(text or "0")))
    xenbus.unforeseen.clear()
    with pytest.raises(BaseException):  # noqa: B017
        xenbus.drive(1, EXAMPLES, shrinks=False)
    assert "unexpected ValueError" in xenbus.unforeseen[0]


# --- the command ----------------------------------------------------------------------------------


def test_the_command_splits_the_time_and_fails_if_one_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = []
    broken = ""

    def run(name: str, limit: fuzzers.Limit, *, coverage: bool) -> fuzzers.Result:
        asked.append((name, limit.seconds))
        crashes = (tmp_path / "crash",) if name == broken else ()
        return fuzzers.Result(name, 100, 1000, 2.0, crashes, "")

    monkeypatch.setattr(fuzzers, "run", run)
    monkeypatch.setattr("sys.argv", ["fuzz", "90"])
    for broken, status in (("", 0), ("card", 1)):  # noqa: B007
        asked.clear()
        assert command.main() == status
        assert asked == list(zip(fuzzers.ALL, itertools.repeat(10)))
    shown = capsys.readouterr().out
    assert f"card: {tmp_path / 'crash'}" in shown
    assert "50/s" in shown and "500/s" in shown


def test_the_command_counts_operations_in_rounds_of_other_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def one(name: str, limit: fuzzers.Limit) -> fuzzers.Result:
        asked.append((name, limit.operations, limit.seed))
        return fuzzers.Result(name, 10, limit.operations, 1.0, (), "")

    monkeypatch.setattr(fuzzers, "_count_round", one)
    words = ["fuzz", "--operations", "250000", "--seed", "7", "card"]
    monkeypatch.setattr("sys.argv", words)
    assert command.main() == 0
    assert asked == [("card", 100_000, 7), ("card", 100_000, 8), ("card", 50_000, 9)]
    assert "250000 operations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "handed_on"),
    [
        ("SECONDS=7", "-m fuzz 7"),
        ("FUZZ_ARGS=--operations 1000 card", "-m fuzz --operations 1000 card"),
    ],
)
def test_make_hands_on_what_is_asked_for(given: str, handed_on: str) -> None:
    done = subprocess.run(
        ["make", "-n", "fuzz", given],
        cwd=building.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert handed_on in done.stdout
