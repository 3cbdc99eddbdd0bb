"""Who may import whom, read from the sources: Python by its syntax tree, C by its #include lines.

Each rule is a function from one file's name and imports to the complaints about it, so that a test
can also show it an offence and see it complain.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON_ROOTS = [ROOT / "bridge", ROOT / "pw_module"]
C_DIR = ROOT / "pw_module" / "src"

# No I/O, no clock, no threads: values in, values out.
PURE = {
    f"xenpvaudio.{name}"
    for name in (
        "sndif.card",
        "errors",
        "testbed.graph_dump",
        "sndif.hwparams",
        "sndif.packets",
        "xenbus.backoff",
        "sndif.stream_rules",
        "sndif.page_directory",
        "sndif.codes",
        "sndif.config_space",
        "xenbus.states",
    )
}
NUMBERS_FROM_THE_HEADER = {
    f"xenpvaudio.{name}"
    for name in ("sndif.packets", "sndif.page_directory", "sndif.codes", "xenbus.states")
}
# fmt: off
IMPURE_STDLIB = {
    "asyncio", "fcntl", "io", "logging", "mmap", "multiprocessing", "os", "pathlib", "random",
    "select", "selectors", "shutil", "signal", "socket", "subprocess", "tempfile", "threading",
    "time",
}
# fmt: on
# They start things, so they choose between real and simulated Xen.
CHOOSES_XEN = ("xenpvaudio.daemon", "xenpvaudio.testbed")
# No PipeWire, no stream: what a stream is made of, tested alone.
C_PARTS = {
    "xen/ring",
    "time/clock",
    "base/queue",
    "base/loop",
    "time/timeline",
    "base/tap",
    "xen/xen_io",
    "time/converter",
    "time/margin",
    "time/overdue",
}
KERNEL_HEADERS = {"xen/evtchn.h", "xen/gntalloc.h", "xen/gntdev.h", "xen/privcmd.h"}


def module_name(path: Path) -> str:
    root = next(root for root in PYTHON_ROOTS if path.is_relative_to(root))
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Absolute names of all that `source` imports, those below functions too.

    `from a import b` counts as a.b: whether b is a module is not asked.
    """
    found = set()
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *(node.module.split(".") if node.module else [])])
            found |= {f"{prefix}.{alias.name}" for alias in node.names}
    return found


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def is_stdlib(name: str) -> bool:
    return name.split(".")[0] in sys.stdlib_module_names


def ours(names: set[str]) -> set[str]:
    return {name for name in names if within(name, "xenpvaudio", "xenpvaudio_native")}


def pure_modules_import_only_each_other(module: str, names: set[str]) -> set[str]:
    if module not in PURE:
        return set()
    bad = {name for name in names if name.split(".")[0] in IMPURE_STDLIB}
    for name in names:
        header = module in NUMBERS_FROM_THE_HEADER and within(name, "xenpvaudio_native.header")
        if not (is_stdlib(name) or within(name, *PURE) or header):
            bad.add(name)
    return bad


def xen_knows_nothing_of_sound(module: str, names: set[str]) -> set[str]:
    if not within(module, "xenpvaudio.xen"):
        return set()
    allowed = ("xenpvaudio.errors", "xenpvaudio.xen", "xenpvaudio_native")
    return {
        name
        for name in names
        if not (is_stdlib(name) or within(name, "pyxs", *allowed))
        or within(name, "xenpvaudio_native.header")
    }


def the_two_halves_do_not_meet(module: str, names: set[str]) -> set[str]:
    halves = {"xenpvaudio.frontend": "xenpvaudio.backend"}
    halves |= {there: here for here, there in halves.items()}
    for here, there in halves.items():
        if module.startswith(here):
            return {name for name in names if name.startswith(there)}
    return set()


def halves_see_xen_through_the_seam(module: str, names: set[str]) -> set[str]:
    if not module.startswith(("xenpvaudio.frontend", "xenpvaudio.backend")):
        return set()
    return {
        name
        for name in names
        if within(name, "xenpvaudio.cli", "xenpvaudio.daemon", "xenpvaudio.testbed.demo")
        or (within(name, "xenpvaudio.xen") and not within(name, "xenpvaudio.xen.api"))
    }


def only_who_starts_things_chooses_xen(module: str, names: set[str]) -> set[str]:
    if within(module, *CHOOSES_XEN, "xenpvaudio.xen"):
        return set()
    return {
        name for name in names if name.startswith(("xenpvaudio.xen.sim", "xenpvaudio.xen.connect"))
    }


def only_the_native_package_imports_compiled_code(module: str, names: set[str]) -> set[str]:
    if within(module, "xenpvaudio_native"):
        # It stands below the control plane, whose errors it raises.
        return {n for n in ours(names) if not within(n, "xenpvaudio.errors", "xenpvaudio_native")}
    return {name for name in names if "_native" in name.split(".")}


def only_xen_speaks_to_the_store_client(module: str, names: set[str]) -> set[str]:
    if within(module, "xenpvaudio.xen"):
        return set()
    return {name for name in names if within(name, "pyxs")}


def nothing_imports_the_command_line(module: str, names: set[str]) -> set[str]:
    if within(module, "xenpvaudio.cli", "xenpvaudio.__main__"):
        return set()
    return {name for name in names if within(name, "xenpvaudio.cli")}


Rule = Callable[[str, set[str]], set[str]]
PYTHON_RULES: list[Rule] = [
    pure_modules_import_only_each_other,
    xen_knows_nothing_of_sound,
    the_two_halves_do_not_meet,
    halves_see_xen_through_the_seam,
    only_who_starts_things_chooses_xen,
    only_the_native_package_imports_compiled_code,
    only_xen_speaks_to_the_store_client,
    nothing_imports_the_command_line,
]


def pipewire_stays_in_pw_files(file: str, includes: set[str]) -> set[str]:
    if file.startswith(("pipewire/", "node/", "abi/")):
        return set()
    return {name for name in includes if name.startswith(("pipewire/", "spa/"))}


def parts_know_no_stream(file: str, includes: set[str]) -> set[str]:
    """ring, clock, queue and their like: they may know each other and the system."""
    if file.split(".")[0] not in C_PARTS:
        return set()
    project = {str(path.relative_to(C_DIR)) for path in C_DIR.glob("*/*.h")} | {
        "node/node.h",
        "back/back.h",
    }
    return {
        name
        for name in includes & project
        if not name.startswith("abi/") and name.split(".")[0] not in C_PARTS
    }


def front_and_back_do_not_meet(file: str, includes: set[str]) -> set[str]:
    for here, there in (("front", "back"), ("back", "front")):
        if here in re.split(r"[_./]", file):
            return {name for name in includes if there in re.split(r"[_./]", name)}
    return set()


def kernel_headers_stay_in_xen_io(file: str, includes: set[str]) -> set[str]:
    """They and Xen's public headers define the same names: never both in one file."""
    if file == "xen/xen_io.c":
        return (
            {name for name in includes if name.startswith("xen/")}
            - KERNEL_HEADERS
            - {"xen/xen_io.h"}
        )
    return includes & KERNEL_HEADERS


C_RULES: list[Rule] = [
    pipewire_stays_in_pw_files,
    parts_know_no_stream,
    front_and_back_do_not_meet,
    kernel_headers_stay_in_xen_io,
]


def python_files() -> Iterator[tuple[str, set[str]]]:
    for root in PYTHON_ROOTS:
        for package in sorted(path for path in root.iterdir() if (path / "__init__.py").exists()):
            for path in sorted(package.rglob("*.py")):
                module = module_name(path)
                source = path.read_text(encoding="utf-8")
                yield module, imports(source, module, path.name == "__init__.py")


def c_files() -> Iterator[tuple[str, set[str]]]:
    for path in sorted([*C_DIR.glob("*/*.c"), *C_DIR.glob("*/*.h")]):
        text = path.read_text(encoding="utf-8")
        yield (
            str(path.relative_to(C_DIR)),
            set(re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, re.MULTILINE)),
        )


@pytest.mark.parametrize("rule", PYTHON_RULES, ids=lambda rule: rule.__name__)
def test_python_imports_keep_the_boundaries(rule: Rule) -> None:
    bad = {module: found for module, names in python_files() if (found := rule(module, names))}
    assert bad == {}


@pytest.mark.parametrize("rule", C_RULES, ids=lambda rule: rule.__name__)
def test_c_includes_keep_the_boundaries(rule: Rule) -> None:
    bad = {file: found for file, names in c_files() if (found := rule(file, names))}
    assert bad == {}


OFFENCES: list[tuple[Rule, str, str]] = [
    (pure_modules_import_only_each_other, "xenpvaudio.sndif.card", "import socket"),
    (pure_modules_import_only_each_other, "xenpvaudio.sndif.card", "import os.path"),
    (pure_modules_import_only_each_other, "xenpvaudio.sndif.card", "from .xen import api"),
    (
        pure_modules_import_only_each_other,
        "xenpvaudio.sndif.card",
        "from xenpvaudio_native import header",
    ),
    (xen_knows_nothing_of_sound, "xenpvaudio.xen.api", "from ..sndif import Operation"),
    (xen_knows_nothing_of_sound, "xenpvaudio.xen.api", "from xenpvaudio.sndif import card"),
    (
        the_two_halves_do_not_meet,
        "xenpvaudio.frontend.device",
        "def f():\n  from .. import backend",
    ),
    (the_two_halves_do_not_meet, "xenpvaudio.backend_card", "import xenpvaudio.frontend.device"),
    (
        halves_see_xen_through_the_seam,
        "xenpvaudio.backend.device",
        "from ..xen.real.gnttab import open_device",
    ),
    (only_who_starts_things_chooses_xen, "xenpvaudio.status", "from .xen import sim"),
    (
        only_the_native_package_imports_compiled_code,
        "xenpvaudio.sndif.stream_rules",
        "import xenpvaudio_native._native",
    ),
    (
        only_the_native_package_imports_compiled_code,
        "xenpvaudio_native.node",
        "import xenpvaudio.sndif.stream_rules",
    ),
    (only_xen_speaks_to_the_store_client, "xenpvaudio.frontend.device", "import pyxs"),
    (nothing_imports_the_command_line, "xenpvaudio.daemon", "from .cli import main"),
]


@pytest.mark.parametrize(("rule", "module", "source"), OFFENCES)
def test_python_rule_sees_an_offence(rule: Rule, module: str, source: str) -> None:
    assert rule(module, imports(source, module))


@pytest.mark.parametrize(
    ("rule", "file", "include"),
    [
        (pipewire_stays_in_pw_files, "back/requests.c", "spa/utils/dll.h"),
        (pipewire_stays_in_pw_files, "plane/plane.h", "pipewire/core.h"),
        (parts_know_no_stream, "xen/ring.c", "back/back.h"),
        (front_and_back_do_not_meet, "front/data.c", "back/back.h"),
        (kernel_headers_stay_in_xen_io, "xen/ring.h", "xen/gntdev.h"),
        (kernel_headers_stay_in_xen_io, "xen/xen_io.c", "xen/io/sndif.h"),
    ],
)
def test_c_rule_sees_an_offence(rule: Rule, file: str, include: str) -> None:
    assert rule(file, {include})
