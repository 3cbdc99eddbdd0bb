"""The C plane on Arm (arm64): all of it cross-compiled as it is shipped, and the C tests' programs
run by qemu as on such a machine. Not the two that are linked with PipeWire itself: its library for
arm64 would take a foreign architecture in apt.

What qemu cannot show is the order in which Arm's memory takes effect: on x86 it keeps x86's, which
is stricter, but for a stlr that a later ldar overtakes, which on Arm it may not. So that each
access is what xen/ring.c, base/queue.h and plane/plane.c argue with is read from the compiler's
code.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

from objects import compiled, run
from pw_module import test_c_core, test_c_streams
from pw_module.ahead import Done
from pw_module.test_c_core import CLOSING, SOURCES, TESTS, program_source
from pw_module.test_c_streams import LINKED, PIPEWIRE

COMPILER = "aarch64-linux-gnu-gcc"
OBJDUMP = "aarch64-linux-gnu-objdump"
EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")
LIMIT_SEC = 900
LONGEST = "test_stream_kernel"  # half of all the work: it begins first
# As build_native.py compiles it.
CFLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]

# program -> sources, functions that it stands in front of
PROGRAMS: dict[str, tuple[list[str], list[str]]] = {
    **{name: (sources, []) for name, sources, _ in test_c_core.PROGRAMS},
    **{name: what for name, what in test_c_streams.PROGRAMS.items() if name not in LINKED},
}


def tool(*names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.fail(f"{names[0]} is missing: run packaging/setup-debian.sh test")


def compile_object(source: Path, *flags: str) -> Path:
    # Xen's headers are the same for all machines, and only in the place of this one's.
    command = [tool(COMPILER), *CFLAGS, *flags, *PIPEWIRE, "-idirafter", "/usr/include"]
    return compiled(source, command, [SOURCES, TESTS / "rig"])


def run_program(name: str, parts: Sequence[Path], folder: Path) -> Done:
    """Its own source, linked with these, run to its end. The limit only ends a hang."""
    main = compile_object(program_source(name))
    program = folder / name
    wraps = [f"-Wl,--wrap={function}" for function in PROGRAMS[name][1]]
    linked = [*map(str, (main, *parts)), "-lm", "-o", str(program)]
    run([tool(COMPILER), "-static", "-pthread", *wraps, *linked])
    command = [tool(*EMULATORS), str(program)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_SEC)


@pytest.mark.parametrize("room", sorted({path.parent.name for path in SOURCES.glob("*/*.c")}))
def test_plane_compiles_for_arm64(room: str) -> None:
    for source in SOURCES.glob(f"{room}/*.c"):
        compile_object(source)


@pytest.mark.parametrize("name", sorted(PROGRAMS, key=LONGEST.__ne__))
def test_program_passes_on_arm64(name: str, tmp_path: Path) -> None:
    done = run_program(name, [compile_object(SOURCES / s) for s in PROGRAMS[name][0]], tmp_path)
    closing = CLOSING.search(done.stdout)
    print(f"{name}: {closing[0] if closing else 'no closing line'}")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert closing is not None and int(closing[1]) > 0 and int(closing[2]) == 0


def test_a_program_that_fails_there_is_noticed(tmp_path: Path) -> None:
    name, _, _, file, original, changed = test_c_core.TWINS["ring_request_without_overflow_check"]
    twin = tmp_path / "twin.c"
    twin.write_text((SOURCES / file).read_text().replace(original, changed))
    done = run_program(name, [compile_object(twin)], tmp_path)
    assert done.returncode == 1
    assert (closing := CLOSING.search(done.stdout)) and int(closing[2]) > 0


# -- memory order

QUEUE = """#include "base/queue.h"
bool push(struct xpa_queue *q, const void *m) { return xpa_queue_push(q, m); }
bool pop(struct xpa_queue *q, void *m) { return xpa_queue_pop(q, m); }
uint32_t fill(struct xpa_queue *q) { return xpa_queue_fill(q); }
"""
# Each an instruction, or one of several.
Order = list[tuple[str, ...]]
ACQUIRE: tuple[str, ...] = ("ldar", "ldapr")
RELEASE: tuple[str, ...] = ("stlr",)
FENCE: tuple[str, ...] = ("dmb ish",)
# Not without the fence: qemu on x86 lets a load overtake a stlr, an ldar too.
ORDERED_STORE: Order = [RELEASE, FENCE]
PUBLISH: Order = [*ORDERED_STORE, ACQUIRE]
REARM: Order = [ACQUIRE, *ORDERED_STORE, ACQUIRE]
WANTED: dict[str, dict[str, Order]] = {
    "xen/ring.c": {
        "xpa_front_ring_publish": PUBLISH,
        "xpa_back_ring_publish": PUBLISH,
        "xpa_front_ring_rearm": REARM,
        "xpa_back_ring_rearm": REARM,
        "xpa_front_ring_pop": [ACQUIRE],
        "xpa_back_ring_pop": [ACQUIRE],
        "xpa_evt_ring_put_all": [ACQUIRE, *ORDERED_STORE],
        "xpa_evt_ring_pop": [ACQUIRE],
        "xpa_evt_ring_polled": [ACQUIRE],
        "xpa_evt_ring_set_polled": PUBLISH,
        "xpa_evt_ring_set_filled": [RELEASE],
        "xpa_evt_ring_filled": [ACQUIRE],
        "xpa_evt_ring_ack": [RELEASE],
        "xpa_evt_ring_init_back_at": [RELEASE],
    },
    "plane/plane.c": {"xpa_plane_noticed": [FENCE, ACQUIRE]},
    "front/commands.c": {"xpa_front_stats": [FENCE]},
    "queue.c": {"push": [ACQUIRE, RELEASE], "pop": [ACQUIRE, RELEASE], "fill": [ACQUIRE, ACQUIRE]},
}
FUNCTION = re.compile(r"^[0-9a-f]+ <(\w+)>:$\n((?:.+\n?)*)", re.MULTILINE)
ORDERED = re.compile(r"\t(stlr|ldar|ldapr|dmb\tish)\b")


def ordered_accesses(made: Path) -> dict[str, list[str]]:
    """Of each function, the instructions that keep an order, as they come."""
    listing = run([tool(OBJDUMP), "--disassemble", "--no-show-raw-insn", str(made)])
    return {
        name: [word.replace("\t", " ") for word in ORDERED.findall(body)]
        for name, body in FUNCTION.findall(listing)
    }


def missing(source: str, text: str, folder: Path, machine: str) -> list[str]:
    """The functions of a source with this text that do not keep the order that is wanted."""
    file = folder / Path(source).name
    file.write_text(text)
    flags = (f"-march={machine}", "-fno-partial-inlining", "-fno-ipa-cp")
    found = ordered_accesses(compile_object(file, *flags))

    def fits(seen: list[str], wanted: Order) -> bool:
        """A way that the compiler has split has the same at the end of each part."""
        kinds = [words for words, _ in groupby(wanted)]

        def ends(once: list[str]) -> bool:
            return not once or any(
                len(once) >= count
                and all(word in words for word, words in zip(once, kinds[-count:], strict=False))
                and ends(once[count:])
                for count in range(1, len(kinds) + 1)
            )

        once = [word for word, _ in groupby(seen)]
        if len(once) < len(kinds) or len(seen) < len(wanted):
            return False
        begins = all(word in words for word, words in zip(once, kinds, strict=False))
        return begins and ends(once[len(kinds) :])

    return [name for name, wanted in WANTED[source].items() if not fits(found[name], wanted)]


def text_of(source: str) -> str:
    return QUEUE if source == "queue.c" else (SOURCES / source).read_text()


# The oldest of arm64, and one that has ldapr.
@pytest.mark.parametrize("machine", ["armv8-a", "armv8.3-a"])
@pytest.mark.parametrize("source", WANTED)
def test_accesses_keep_the_order_that_is_argued_with(
    source: str, machine: str, tmp_path: Path
) -> None:
    assert missing(source, text_of(source), tmp_path, machine) == []


@pytest.mark.parametrize(
    ("source", "original", "changed", "noticed"),
    [
        (
            "xen/ring.c",
            "store_release(p, value);",
            "__atomic_store_n(p, value, __ATOMIC_RELAXED);",
            6,
        ),
        (
            "xen/ring.c",
            "__atomic_load_n(p, __ATOMIC_ACQUIRE)",
            "__atomic_load_n(p, __ATOMIC_RELAXED)",
            11,
        ),
        ("xen/ring.c", "__atomic_thread_fence(__ATOMIC_SEQ_CST);", "", 6),
        ("plane/plane.c", "atomic_thread_fence(memory_order_seq_cst);", "", 1),
        ("front/commands.c", "atomic_thread_fence(memory_order_seq_cst);", "", 1),
    ],
)
def test_an_access_without_its_order_is_noticed(
    source: str, original: str, changed: str, noticed: int, tmp_path: Path
) -> None:
    text = text_of(source)
    assert text.count(original) == 1
    assert len(missing(source, text.replace(original, changed), tmp_path, "armv8-a")) == noticed
