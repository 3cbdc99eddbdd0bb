"""The rooms, in order, and who may use whom: read from the sources, Python's imports by its syntax
tree and C's by its #include lines.

Run as a program it prints the rooms. The checks are functions of a tree, so that the tests also
give them a copy with a wrong edge planted in each room, and expect to be told of it.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a program
from project.rooms import (
    C_APART,
    C_LIBRARIES,
    C_ROOMS,
    IMPURE,
    KERNEL_HEADERS,
    PURE,
    PYTHON_ROOMS,
    THIRD_PARTY,
    TOP,
)

ROOT = Path(__file__).resolve().parents[2]
MOST_FILES = 14
MOST_LINES = 400


def within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)


def dotted(token: str) -> str:
    """The module that a word of the table means."""
    first, dot, rest = token.partition(".")
    return f"xenpvaudio_native{dot}{rest}" if first == "native" else f"xenpvaudio.{token}"


def room_of(module: str) -> str | None:
    if module == "xenpvaudio" or within(module, *TOP):
        return "top"
    fitting = [room for room in PYTHON_ROOMS if within(module, dotted(room))]
    return max(fitting, key=len, default=None)


def imports(source: str, module: str, is_package: bool) -> set[str]:
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


def python_files(tree: Path) -> Iterator[tuple[str, Path]]:
    """Module names and their files."""
    for root, package in (
        (tree / "bridge", "xenpvaudio"),
        (tree / "pw_module", "xenpvaudio_native"),
    ):
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def may_import(module: str, room: str, name: str) -> bool:
    top = name.split(".")[0]
    if top not in ("xenpvaudio", "xenpvaudio_native"):
        pure = within(module, *map(dotted, PURE))
        users = THIRD_PARTY.get(top)
        if users is not None:
            return room in users
        return not pure or (top in sys.stdlib_module_names and top not in IMPURE)
    if room == "native":
        return within(name, "xenpvaudio_native", "xenpvaudio.errors")
    if "_native" in name.split(".") or within(name, "xenpvaudio.cli"):
        return within(name, "xenpvaudio.cli") and module == "xenpvaudio.__main__"
    allowed = [dotted(token) for token in PYTHON_ROOMS[room].split()]
    if room_of(name) == room or (room == "top" and name == "xenpvaudio.__version__"):
        return True
    return within(name, "xenpvaudio.errors", *allowed)


def wrong_imports(tree: Path) -> set[str]:
    """'module imports name' for each that the table forbids, and modules that are in no room."""
    wrong = set()
    for module, path in python_files(tree):
        room = room_of(module)
        if room is None:
            wrong.add(f"{module} is in no room")
            continue
        names = imports(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
        wrong |= {f"{module} imports {n}" for n in names if not may_import(module, room, n)}
    return wrong


def allowed_in_c(room: str) -> list[str]:
    return [other for other in C_ROOMS[: C_ROOMS.index(room)] if {room, other} not in C_APART]


def may_include(room: str, file: str, quoted: bool, name: str) -> bool:
    if not quoted:
        for library, rooms in C_LIBRARIES.items():
            if name.startswith(library):
                return room in rooms
        if file == "xen/xen_io.c":
            return not name.startswith("xen/") or name in KERNEL_HEADERS
        return name not in KERNEL_HEADERS
    other = name.split("/")[0]
    if "/" not in name or other not in C_ROOMS or {room, other} in C_APART:
        return False
    return C_ROOMS.index(other) <= C_ROOMS.index(room)


def wrong_includes(tree: Path) -> set[str]:
    """'file includes name' for each that the order forbids, and files that are in no room."""
    wrong = set()
    source = tree / "pw_module" / "src"
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        file = path.relative_to(source).as_posix()
        room = file.split("/")[0]
        if room not in C_ROOMS or file.count("/") != 1:
            wrong.add(f"{file} is in no room")
            continue
        text = path.read_text(encoding="utf-8")
        for mark, name in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', text, re.MULTILINE):
            if not may_include(room, file, mark == '"', name):
                wrong.add(f"{file} includes {name}")
    return wrong


FUNCTION = re.compile(r"^[a-zA-Z][^;{}()]*?\b(xpa_\w+)\([^;{}]*\)\s*\{", re.MULTILINE)


def circles(folder: Path) -> set[str]:
    """Files of a C room that call each other in a circle; x.c and x.h count as one file."""
    texts: dict[str, str] = {}
    for path in sorted(folder.glob("*.[ch]")):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        texts[path.stem] = texts.get(path.stem, "") + text
    home = {name: file for file, text in texts.items() for name in FUNCTION.findall(text)}
    called = {
        file: {home[name] for name in re.findall(r"\bxpa_\w+", text) if name in home} - {file}
        for file, text in texts.items()
        if file != folder.name  # the room's header declares what all of them define
    }
    size = -1
    while size != len(called):  # who calls nobody that is left, or is called by nobody, is in none
        size = len(called)
        wanted = set().union(*called.values()) if called else set()
        called = {
            file: others
            for file, others in called.items()
            if others & called.keys() and file in wanted
        }
    return set(called)


def rooms_in_order() -> list[str]:
    """A line a room: its files, its lines, what it may use."""
    lines = ["Python:"]
    held: dict[str, list[int]] = {room: [] for room in PYTHON_ROOMS}
    for module, path in python_files(ROOT):
        held[room_of(module) or ""].append(len(path.read_text().splitlines()))
    for room, uses in PYTHON_ROOMS.items():
        lines.append(
            f"  {room:12}{len(held[room]):3} files{sum(held[room]):6} lines   {uses or '-'}"
        )
    lines.append("C:")
    for room in C_ROOMS:
        files = [path.read_text() for path in (ROOT / "pw_module" / "src" / room).iterdir()]
        size = sum(len(text.splitlines()) for text in files)
        before = allowed_in_c(room)
        lines.append(f"  {room:12}{len(files):3} files{size:6} lines   {' '.join(before) or '-'}")
    return lines


def test_imports_keep_to_the_rooms() -> None:
    print("\n".join(rooms_in_order()))
    assert wrong_imports(ROOT) == set()


def test_includes_keep_to_the_rooms() -> None:
    assert wrong_includes(ROOT) == set()


def test_a_room_names_only_rooms_before_it() -> None:
    rooms = list(PYTHON_ROOMS)
    for number, room in enumerate(rooms):
        for token in PYTHON_ROOMS[room].split():
            assert room_of(dotted(token)) in rooms[:number], (room, token)


@pytest.mark.parametrize("room", C_ROOMS)
def test_files_of_a_c_room_call_each_other_one_way(room: str) -> None:
    assert circles(ROOT / "pw_module" / "src" / room) == set()


def test_a_circle_of_c_files_is_told(copy: Path) -> None:
    room = copy / "pw_module" / "src" / "back"
    file = room / "position.c"
    file.write_text(file.read_text() + "\nvoid f(struct xpa_back *b) { xpa_back_stop(b); }\n")
    assert circles(room) == {"position", "state"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("bridge/xenpvaudio", "pw_module/xenpvaudio_native", "pw_module/src"):
        leave = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=leave)
    return tmp_path


def forbidden_to(room: str) -> list[str]:
    """Rooms that `room` may not import at all."""
    allowed = [dotted(token) for token in PYTHON_ROOMS[room].split()]
    return [
        other
        for other in PYTHON_ROOMS
        if other not in (room, "errors", "top")
        and not within(dotted(other), dotted(room), *allowed)
        and not any(within(name, dotted(other)) for name in allowed)
        and not (room == "native" and other == "native")
    ]


@pytest.mark.parametrize("room", [room for room in PYTHON_ROOMS if room != "top"])
def test_a_wrong_import_in_any_room_is_told(room: str, copy: Path) -> None:
    module = dotted(room)
    root = copy / ("pw_module" if room == "native" else "bridge")
    place = root.joinpath(*module.split("."))
    file = place / "planted.py" if place.is_dir() else place.with_suffix(".py")
    name = f"{module}.planted" if place.is_dir() else module
    others = forbidden_to(room)
    assert others
    lines = [f"def f{n}():\n    from {dotted(other)} import x" for n, other in enumerate(others)]
    file.write_text("\n".join([*lines, "import xenpvaudio.cli"]))
    expected = {f"{name} imports {dotted(other)}.x" for other in others}
    assert wrong_imports(copy) == expected | {f"{name} imports xenpvaudio.cli"}


@pytest.mark.parametrize(
    ("module", "line", "name"),
    [
        ("xenpvaudio.sndif.card", "import socket", "socket"),
        ("xenpvaudio.sndif.card", "import os.path", "os.path"),
        ("xenpvaudio.sndif.card", "import numpy", "numpy"),
        ("xenpvaudio.xenbus.states", "import time", "time"),
        ("xenpvaudio.frontend.link", "import pyxs", "pyxs"),
        ("xenpvaudio.frontend.link", "from ..backend import device", "xenpvaudio.backend.device"),
        ("xenpvaudio.backend.device", "from ..xen import connect", "xenpvaudio.xen.connect"),
        ("xenpvaudio.xen.real.gnttab", "from ..sim import connect", "xenpvaudio.xen.sim.connect"),
        ("xenpvaudio.xenbus.device", "from ..xen.sim import x", "xenpvaudio.xen.sim.x"),
        ("xenpvaudio.measure.aec", "import xenpvaudio_native._native", "xenpvaudio_native._native"),
        ("xenpvaudio.daemon", "from .cli import main", "xenpvaudio.cli.main"),
    ],
)
def test_wrong_imports_of_other_kinds_are_told(
    module: str, line: str, name: str, copy: Path
) -> None:
    path = (copy / "bridge").joinpath(*module.split(".")).with_suffix(".py")
    path.write_text(path.read_text() + f"\n{line}\n")
    assert wrong_imports(copy) == {f"{module} imports {name}"}


def test_a_module_in_no_room_is_told(copy: Path) -> None:
    (copy / "bridge" / "xenpvaudio" / "stray.py").touch()
    (copy / "pw_module" / "src" / "stray.c").touch()
    assert wrong_imports(copy) == {"xenpvaudio.stray is in no room"}
    assert wrong_includes(copy) == {"stray.c is in no room"}


@pytest.mark.parametrize("room", C_ROOMS)
def test_a_wrong_include_in_any_room_is_told(room: str, copy: Path) -> None:
    later = C_ROOMS[C_ROOMS.index(room) + 1 :]
    wrong = [f"{other}/planted.h" for other in later] + ["clock.h", "outputs/planted.h"]
    if room in ("back", "card", "node"):
        wrong.append("front/front.h" if room == "back" else "back/back.h")
    file = copy / "pw_module" / "src" / room / "planted.c"
    file.write_text("".join(f'#include "{name}"\n' for name in wrong))
    assert wrong_includes(copy) == {f"{room}/planted.c includes {name}" for name in wrong}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("back/requests.c", "spa/utils/dll.h"),
        ("plane/plane.h", "pipewire/stream.h"),
        ("relay/relay.h", "pulse/stream.h"),
        ("pulse/pulse.h", "alsa/asoundlib.h"),
        ("xen/ring.h", "xen/gntdev.h"),
        ("xen/xen_io.c", "xen/io/sndif.h"),
    ],
)
def test_wrong_system_headers_are_told(file: str, name: str, copy: Path) -> None:
    path = copy / "pw_module" / "src" / file
    path.write_text(path.read_text() + f"\n#include <{name}>\n")
    assert wrong_includes(copy) == {f"{file} includes {name}"}


def test_each_room_says_what_it_holds_and_which_it_may_use() -> None:
    """By the very words of rooms.py; a folder within a room names that."""
    for folder in sorted(path.parent for path in (ROOT / "bridge").rglob("__init__.py")):
        name = ".".join(folder.relative_to(ROOT / "bridge").parts[1:])
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        said = " ".join(text.split())
        if name in PYTHON_ROOMS:
            words = ", ".join(PYTHON_ROOMS[name].split()) or "nothing"
            assert f"May use: {words}." in said, name
        elif name:
            assert f"May use: what `{name.rpartition('.')[0]}` may." in said, name
    for room in C_ROOMS:
        said = (ROOT / "pw_module" / "src" / room / "README.md").read_text()
        assert f"May use: {', '.join(allowed_in_c(room)) or 'nothing'}." in said, room


SOURCES = (".py", ".pyi", ".c", ".h", ".cdef")


def sources(*places: str) -> list[Path]:
    return [
        path
        for place in places
        for path in sorted((ROOT / place).rglob("*"))
        if path.suffix in SOURCES and path.name != "_native.c"
    ]


def test_no_file_is_too_long_to_be_read() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources("bridge", "pw_module", "tests")
    }
    longest = sorted(lengths.items(), key=lambda item: -item[1])
    print(longest[:5])
    assert [item for item in longest if item[1] > MOST_LINES] == []


GENERATED = (".pyc", ".so")
DATA = ("corpus", "__pycache__", "debian")
"""What fuzzers keep is read by no person; Debian says which files are in its folder."""


def test_no_folder_holds_more_than_can_be_seen_at_once() -> None:
    held: dict[str, int] = {}
    for place in ("bridge", "pw_module", "tests", "packaging"):
        for path in (ROOT / place).rglob("*"):
            folders = path.relative_to(ROOT).parent
            generated = path.suffix in GENERATED or path.name == "_native.c"
            written = path.is_file() and not generated and not set(DATA) & set(folders.parts)
            if written and not any(part.endswith(".egg-info") for part in folders.parts):
                held[str(folders)] = held.get(str(folders), 0) + 1
    assert {folder: n for folder, n in held.items() if n > MOST_FILES} == {}


if __name__ == "__main__":
    print("\n".join(rooms_in_order()))
