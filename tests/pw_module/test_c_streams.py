"""Both halves of a stream and the virtual device in C, built with sanitizers and run.

Time is simulated: --wrap puts the tests' clock under the unchanged sources. test_stream_kernel
plays against a model of Linux's frontend, test_stream_pair joins both halves, test_stream_threads
alone runs on real threads and real time. The twins at the end prove that each rule is needed: a
copy of the source without it must be caught.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from objects import compiled, run
from pw_module.ahead import Done, ahead, chosen, run_program
from pw_module.stream_twins import TWINS
from xenpvaudio.sndif.codes import Trigger
from xenpvaudio.sndif.stream_rules import BACKEND_PCM, Asked, PcmState

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "pw_module" / "src"
TESTS = ROOT / "tests" / "pw_module"
CFLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread"]
HEADERS = [SOURCES, TESTS / "rig"]
MEMORY = "address,undefined"
THREAD = "thread"

CORE = [
    "xen/ring.c",
    "time/clock.c",
    "base/loop.c",
    "base/memory.c",
    "xen/xen_io.c",
    "plane/plane.c",
    "time/timeline.c",
    "base/silence.c",
    "base/budget.c",
    "time/peer_clock.c",
]
BACK = [
    "back/life.c",
    "back/state.c",
    "back/requests.c",
    "base/tap.c",
    "back/data.c",
    "back/position.c",
    "back/volume.c",
    "back/host_start.c",
    "back/fault_injection.c",
    "back/vdev.c",
]
FRONT = [
    "front/life.c",
    "front/commands.c",
    "front/requests.c",
    "front/position.c",
    "front/time.c",
    "front/control.c",
    "front/data.c",
    "front/rest.c",
    "front/poll.c",
    "time/margin.c",
]
PCM = ["pcm/pcm.c", "pcm/flow.c", "pcm/gain.c"]
NODE = [
    "time/converter.c",
    "time/overdue.c",
    "node/cycle.c",
    "node/drive.c",
    "node/follow.c",
    "node/graph.c",
    "node/lead.c",
]
CONNECTION = [
    "pipewire/core.c",
    "pipewire/main_loop.c",
    "pipewire/events.c",
    "pipewire/library.c",
]
TIME = ["xpa_now_nsec", "xpa_timer_set", "xpa_loop_add", "xpa_loop_remove"]

# program -> sources, functions that the test stands in front of
PROGRAMS = {
    "test_timeline": (["time/timeline.c"], []),
    "test_front_time": (["time/clock.c", "time/peer_clock.c", "front/time.c"], []),
    "test_stream_back": ([*CORE, *BACK], TIME),
    "test_back_budget": ([*CORE, *BACK], [*TIME, "xpa_channel_notify"]),
    "test_stream_resources": ([*CORE, *BACK], []),
    "test_stream_polled": ([*CORE, *BACK], [*TIME, "xpa_evt_ring_put_all"]),
    "test_stream_kernel": ([*CORE, *BACK], TIME),
    "test_stream_front": ([*CORE, *FRONT], TIME),
    "test_front_poll": ([*CORE, *FRONT], TIME),
    "test_front_budget": ([*CORE, *FRONT], [*TIME, "xpa_evt_ring_pop"]),
    "test_stream_pair": ([*CORE, *BACK, *FRONT], [*TIME, "xpa_back_mark"]),
    "test_pw_cycle": ([*CORE, *BACK, *FRONT, *NODE], TIME),
    "test_pw_node": ([*CORE, *FRONT, *NODE, "node/node.c", *CONNECTION], TIME),
    "test_pw_host": ([*CORE, *BACK, "pipewire/host.c", *CONNECTION], TIME),
    "test_pw_suspend": ([*CORE, *BACK, *FRONT, *NODE], TIME),
    "test_pw_chance": ([*CORE, *BACK, *FRONT, *NODE], TIME),
    "test_pcm": ([*CORE, *BACK, *FRONT, *PCM], [*TIME, "xpa_back_mark"]),
    "test_pw_poll": ([*CORE, *BACK, *FRONT, *NODE], [*TIME, "xpa_timer_ack"]),
    "test_pw_lies": ([*CORE, *BACK, *FRONT, *NODE], [*TIME, "xpa_timer_ack"]),
    "test_stream_threads": ([*CORE, *BACK], []),
    "test_relay": ([*CORE, *BACK, "relay/relay.c"], TIME),
}


# Linked with the library itself.
LINKED = {"test_pw_node", "test_pw_host"}


def _pipewire(what: str) -> list[str]:
    found = ["pkg-config", what, "libpipewire-0.3"]
    done = subprocess.run(found, capture_output=True, text=True, check=False)
    return done.stdout.replace("-I", "-isystem").split()


PIPEWIRE = _pipewire("--cflags")
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)
CELL = re.compile(r"^cell (\w+) (\w+) (\w+) (-?\d+) (\w+)$", re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def program_source(name: str) -> Path:
    """The test program of that name, in whichever room it is."""
    (source,) = TESTS.glob(f"*/{name}.c")
    return source


def build(name: str, sanitizer: str, folder: Path, twin: Path | None = None) -> Path:
    """Compile the program and link it into folder; `twin` takes the place of the source of its
    name."""
    sources, wrapped = PROGRAMS[name]
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"] if sanitizer else []
    flags += ["-Wno-tsan"] if sanitizer == THREAD else []  # gcc warns of each fence
    command = ["cc", *CFLAGS, *flags, *PIPEWIRE]
    parts = [compiled(program_source(name), command, HEADERS)]
    for source in sources:
        if twin is not None and twin.parts[-2:] == Path(source).parts:
            # what is cut out may leave something unused
            parts.append(compiled(twin, [*command, "-Wno-unused"], HEADERS))
        else:
            parts.append(compiled(SOURCES / source, command, HEADERS))
    program = Path(tempfile.mkdtemp(dir=folder)) / f"{name}-{sanitizer}"
    wraps = [f"-Wl,--wrap={function}" for function in wrapped]
    libraries = ["-lm", *(_pipewire("--libs") if name in LINKED else [])]
    run(["cc", *CFLAGS, *flags, *wraps, *map(str, parts), *libraries, "-o", str(program)])
    return program


@pytest.fixture(scope="module")
def programs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Done]]]:
    folder = tmp_path_factory.mktemp("programs")

    def job(name: str, sanitizer: str) -> Done:
        return run_program(build(name, sanitizer, folder))

    wanted = [item.callspec.params for item in chosen(request, test_stream_program_passes)]
    jobs = {"{name} {sanitizer}".format(**p): partial(job, **p) for p in wanted}
    with ahead(jobs) as futures:
        yield futures


@pytest.mark.parametrize(
    ("name", "sanitizer"),
    [*((name, MEMORY) for name in PROGRAMS), ("test_stream_threads", THREAD)],
    ids=lambda value: value.split(",")[0],
)
def test_stream_program_passes(
    name: str, sanitizer: str, programs: dict[str, Future[Done]]
) -> None:
    done = programs[f"{name} {sanitizer}"].result()
    print(done.stdout[-2000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    closing = CLOSING.search(done.stdout)
    assert closing is not None, done.stdout
    assert int(closing[1]) > 0
    assert int(closing[2]) == 0


def test_streams_in_c_follow_the_table_in_python(tmp_path: Path) -> None:
    done = run_program(build("test_stream_back", MEMORY, tmp_path))
    what_of = {
        str(Trigger.START.value): Asked.START,
        str(Trigger.PAUSE.value): Asked.PAUSE,
        str(Trigger.STOP.value): Asked.STOP,
        str(Trigger.RESUME.value): Asked.RESUME,
        "4": Asked.BAD_TRIGGER,
        "255": Asked.BAD_TRIGGER,
        "right": Asked.TRANSFER,
        "wrong": Asked.WRONG_WAY,
    }
    seen = set()
    for direction, state, word, status, after in CELL.findall(done.stdout):
        step = BACKEND_PCM[PcmState(state)][what_of[word]]
        cell = (direction, PcmState(state), what_of[word])
        assert (int(status), after) == (int(step.status), step.next.value), cell
        seen.add(cell)
    assert len(seen) == 2 * len(PcmState) * len(set(what_of.values()))


def run_twin(twin: str, folder: Path) -> Done:
    name, file, original, changed = TWINS[twin]
    text = (SOURCES / file).read_text()
    assert text.count(original) == 1, f"{original!r} is not once in {file}: update the twin"
    mutated = folder / twin / file
    mutated.parent.mkdir(parents=True)
    mutated.write_text(text.replace(original, changed))
    return run_program(build(name, MEMORY, folder, mutated), CHECK_ONCE="1")


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
