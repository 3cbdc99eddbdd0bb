"""Compiles the fuzzers in C: clang with libFuzzer, under the sanitizers of addresses and of
undefined behaviour, numbers that do not fit an integer among them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pw_module.test_c_streams import BACK, CORE, FRONT, TIME

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "pw_module" / "src"
STREAMS = ROOT / "tests" / "fuzz" / "streams"
RIG = ROOT / "tests" / "pw_module" / "rig"
SANITIZERS = "address,undefined,float-cast-overflow"
CFLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-pthread"]
COVERAGE = ("-O1", f"-fsanitize=fuzzer-no-link,{SANITIZERS}")
COUNT = ("-O2", f"-fsanitize={SANITIZERS}")
INCLUDES = ["-iquote", str(SOURCES), "-iquote", str(RIG)]

# what stands in for the kernel, and for its clock
KERNEL = [
    *TIME, "epoll_create1", "epoll_ctl", "epoll_wait", "eventfd", "timerfd_create",
    "socketpair", "send", "recv", "read", "write", "close",
]  # fmt: skip

# fuzzer -> sources, functions that it stands in front of
PROGRAMS = {
    "requests": ([*CORE, *BACK], ["xpa_back_ring_pop", "xpa_back_ring_push"]),
    "answers": (
        [*CORE, *FRONT],
        ["xpa_front_ring_pop", "xpa_front_ring_publish", "xpa_evt_ring_pop"],
    ),
}

# (file below SOURCES, what is changed, into what)
Change = tuple[str, str, str]


def clang() -> str | None:
    """None where there is no clang, or one without libFuzzer."""
    program = shutil.which("clang")
    if program is None:
        return None
    library = ["-fsanitize=fuzzer", "-x", "c", "/dev/null", "-###"]
    asked = subprocess.run([program, *library], capture_output=True, text=True, check=False)
    parts = [word.strip('"') for word in asked.stderr.split() if "libclang_rt.fuzzer" in word]
    return program if parts and all(Path(part).exists() for part in parts) else None


def _compile(source: Path, target: Path, *flags: str) -> Path:
    if not target.exists() or target.stat().st_mtime < _newest(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        command = ["clang", *CFLAGS, "-fno-sanitize-recover=all", *flags, *INCLUDES]
        _run([*command, "-c", str(source), "-o", str(target)])
    return target


def _newest(source: Path) -> float:
    """When the source, or any header, was changed last."""
    headers = [path for place in (SOURCES, STREAMS, RIG) for path in place.rglob("*.*h")]
    return max(path.stat().st_mtime for path in (source, *headers))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _plant(folder: Path, change: Change) -> Path:
    """A copy of the source in which one text is another, in a folder of its own."""
    source, original, changed = change
    text = (SOURCES / source).read_text()
    assert text.count(original) == 1, f"{original!r} is not once in {source}"
    place = folder / f"planted-{len(list(folder.glob('planted-*')))}"
    place.mkdir(parents=True)
    planted = place / Path(source).name
    planted.write_text(text.replace(original, changed))
    return planted


def _parts(jobs: list[tuple[Path, Path, tuple[str, ...]]]) -> list[str]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: str(_compile(job[0], job[1], *job[2])), jobs))


def _link(name: str, program: Path, parts: list[str], sanitizers: str) -> Path:
    wraps = [f"-Wl,--wrap={function}" for function in (*KERNEL, *PROGRAMS[name][1])]
    _run(["clang", *CFLAGS, sanitizers, *wraps, *parts, "-lm", "-o", str(program)])
    return program


def _jobs(
    name: str, folder: Path, flags: tuple[str, ...], change: Change | None
) -> tuple[Path, list[tuple[Path, Path, tuple[str, ...]]]]:
    """Where the program belongs, and what it is compiled from."""
    place, jobs = folder, [(STREAMS / f"fuzz_{name}.c", folder / f"fuzz_{name}.o", flags)]
    for source in PROGRAMS[name][0]:
        if change is not None and change[0] == source:
            planted = _plant(folder, change)
            place = planted.parent
            jobs.append((planted, planted.with_suffix(".o"), (*flags, "-Wno-unused")))
        else:
            jobs.append((SOURCES / source, folder / f"{source.replace('/', '-')}.o", flags))
    return place, jobs


def build(name: str, folder: Path, change: Change | None = None) -> Path:
    """The fuzzer of that name; with `change`, of a source in which one text is another."""
    place, jobs = _jobs(name, folder, COVERAGE, change)
    sanitizers = f"-fsanitize=fuzzer,{SANITIZERS}"
    return _link(name, place / f"fuzz_{name}", _parts(jobs), sanitizers)


def build_count(name: str, folder: Path, change: Change | None = None) -> Path:
    """The same fuzzer with count.c's main(), optimized and without coverage."""
    objects = folder / "count"
    objects.mkdir(parents=True, exist_ok=True)
    place, jobs = _jobs(name, objects, COUNT, change)
    jobs.append((STREAMS / "count.c", objects / "count.o", COUNT))
    return _link(name, place / f"count_{name}", _parts(jobs), COUNT[1])
