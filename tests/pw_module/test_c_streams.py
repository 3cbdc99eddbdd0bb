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
from pathlib import Path

import pytest

from pw_module.stream_twins import TWINS
from xenpvaudio.sndif.codes import Trigger
from xenpvaudio.sndif.stream_rules import BACKEND_PCM, Asked, PcmState

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "pw_module" / "src"
TESTS = ROOT / "tests" / "pw_module"
CFLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread"]
INCLUDES = ["-iquote", str(SOURCES), "-iquote", str(TESTS / "rig")]
MEMORY = "address,undefined"
THREAD = "thread"

CORE = [
    "xen/ring.c",
    "time/clock.c",
    "base/loop.c",
    "xen/xen_io.c",
    "plane/plane.c",
    "time/timeline.c",
    "base/silence.c",
    "time/peer_clock.c",
]
BACK = [
    "back/life.c",
    "back/state.c",
    "back/requests.c",
    "base/tap.c",
    "back/data.c",
    "back/position.c",
    "back/host_start.c",
    "back/fault_injection.c",
    "back/vdev.c",
]
FRONT = [
    "front/life.c",
    "front/requests.c",
    "front/position.c",
    "front/time.c",
    "front/data.c",
    "time/margin.c",
]
NODE = [
    "time/converter.c",
    "time/overdue.c",
    "node/cycle.c",
    "node/drive.c",
    "node/follow.c",
    "node/graph.c",
    "node/lead.c",
]
TIME = ["xpa_now_nsec", "xpa_timer_set", "xpa_loop_add", "xpa_loop_remove"]

# program -> sources, functions that the test stands in front of
PROGRAMS = {
    "test_timeline": (["time/timeline.c"], []),
    "test_front_time": (["time/clock.c", "time/peer_clock.c", "front/time.c"], []),
    "test_stream_back": ([*CORE, *BACK], TIME),
    "test_stream_kernel": ([*CORE, *BACK], TIME),
    "test_stream_front": ([*CORE, *FRONT], TIME),
    "test_stream_pair": ([*CORE, *BACK, *FRONT], [*TIME, "xpa_back_mark"]),
    "test_pw_cycle": ([*CORE, *BACK, *FRONT, *NODE], TIME),
    "test_pw_suspend": ([*CORE, *BACK, *FRONT, *NODE], TIME),
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
        includes = [*INCLUDES, *PIPEWIRE]
        command = ["cc", *CFLAGS, *flags, *includes, "-c", str(source)]
        done = subprocess.run(
            [*command, "-o", str(target)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return target


def program_source(name: str) -> Path:
    """The test program of that name, in whichever room it is."""
    (source,) = TESTS.glob(f"*/{name}.c")
    return source


def build(name: str, sanitizer: str, objects: Path, twin: Path | None = None) -> Path:
    """Compile the program and link it; `twin` takes the place of the source of its name."""
    sources, wrapped = PROGRAMS[name]
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"] if sanitizer else []
    suffix = f"-{sanitizer}.o"
    parts = [compile_object(program_source(name), objects / f"{name}{suffix}", *flags)]
    for source in sources:
        if (
            twin is not None and twin.parts[-2:] == Path(source).parts
        ):  # what is cut out may leave something unused
            parts.append(compile_object(twin, twin.with_suffix(".o"), *flags, "-Wno-unused"))
        else:
            parts.append(
                compile_object(
                    SOURCES / source, objects / f"{source.replace('/', '-')}{suffix}", *flags
                )
            )
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


@pytest.mark.parametrize("twin", TWINS)
def test_stream_program_catches_its_twin(twin: str, objects: Path, tmp_path: Path) -> None:
    name, file, original, changed = TWINS[twin]
    text = (SOURCES / file).read_text()
    assert text.count(original) == 1, f"{original!r} is not once in {file}: update the twin"
    mutated = tmp_path / file
    mutated.parent.mkdir()
    mutated.write_text(text.replace(original, changed))
    done = run(build(name, MEMORY, objects, mutated))
    assert done.returncode != 0, f"{name} did not notice"
