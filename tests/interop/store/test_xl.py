"""The real xl beside our attach and detach: the examples in packaging/xl as it reads them, and what
it writes into a real XenStore, and finds of what we have written."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.store.ends import Ends
from interop.store.xl import keep_domain, xl
from interop.world import World, make_world
from xenpvaudio.toolstack.cards import run_attach, run_detach
from xenpvaudio.toolstack.specification import parse_specification

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "packaging" / "xl").glob("*.cfg"))
WITHOUT_OURS = {"devid", "pcms", "streams", "params"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Debian's xenstored, with the domain 3."""
    world = make_world("xenstored", tmp_path_factory.mktemp("world"))
    world.dom0.write("/local/domain/0/domid", "0")
    world.guest(3)
    world.dom0.write("/local/domain/3/name", "work")
    world.dom0.write("/libxl/3/type", "pv")
    yield world
    world.close()


@pytest.fixture(scope="module")
def kept(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    keep_domain(world.server, folder, 3)
    return folder


def xl_create(world: World, file: Path) -> subprocess.CompletedProcess[str]:
    """xl's dry run: it reads, prints what it would make, and makes nothing."""
    return xl(world.server, "-N", "create", str(file), 'kernel="vmlinuz"')


def nodes(card: dict[str, Any]) -> dict[str, str]:
    """What libxl makes of what xl has read (libxl_vsnd.c libxl__set_xenstore_vsnd)."""

    def own(part: dict[str, Any], prefix: str) -> dict[str, str]:
        values = {**part, **part["params"]}
        return {
            prefix + key.replace("_", "-"): ",".join(map(str, v)) if isinstance(v, list) else str(v)
            for key, v in values.items()
            if key not in WITHOUT_OURS
        }

    found = own(card, "")
    for number, pcm in enumerate(card["pcms"]):
        found |= own(pcm, f"{number}/")
        for index, stream in enumerate(pcm["streams"]):
            found |= own(stream, f"{number}/{index}/")
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_xl_reads_an_example_as_we_do(path: Path, world: World) -> None:
    done = xl_create(world, path)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    ours = parse_specification(path.read_text(encoding="utf-8"), path.name)
    assert [nodes(card) for card in read["vsnds"]] == [card.nodes for card in ours]
    assert f'name = "{read["c_info"]["name"]}"' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "items",
    [
        "'CARD, backend=driver', 'STREAM, type=c', 'PCM, name=x', 'stream, type=p'",
        "'card, sample-rates=48000;8000, sample-formats=f32_le;u8', 'STREAM, type=p'",
        "'CARD',\n 'PCM, name=a b, channels-min=1,channels-max=2', # that\n \"STREAM,  type=p,\",",
    ],
)
def test_xl_reads_other_cards_as_we_do(items: str, world: World, tmp_path: Path) -> None:
    file = tmp_path / "x.cfg"
    file.write_text(f'name = "x"; memory = 64\nvsnd = [ [ {items} ] ]\nvcpus = 1\n')
    done = xl_create(world, file)
    assert done.returncode == 0, done.stderr
    (card,) = json.loads(done.stdout)["vsnds"]
    (ours,) = parse_specification(file.read_text(), "x.cfg")
    assert card.pop("backend_domname", "") == ours.backend
    assert nodes(card) == ours.nodes


@pytest.mark.parametrize(
    "item", ["STREAM, id=a", "TRACK", "STREAM, type=x", "CARD, sample-formats=mp3"]
)
def test_xl_refuses_what_we_refuse(item: str, world: World, tmp_path: Path) -> None:
    file = tmp_path / "x.cfg"
    file.write_text(f'name = "x"\nvsnd = [ [ "{item}", "STREAM, type=p" ] ]\n')
    assert xl_create(world, file).returncode != 0
    with pytest.raises(Exception, match=r"x\.cfg, line 2"):
        parse_specification(file.read_text(), "x.cfg")


def test_xl_reads_the_driver_domain_of_the_page(world: World, tmp_path: Path) -> None:
    page = (ROOT / "packaging" / "doc" / "driver-domain.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    driver, guest = tmp_path / "driver.cfg", tmp_path / "guest.cfg"
    for file, mark in ((driver, "driver_domain"), (guest, "vsnd")):
        (text,) = (block for block in blocks if mark in block)
        file.write_text(text + 'name = "x"\n' * ("name =" not in text))
    read = json.loads(xl_create(world, driver).stdout)
    assert read["c_info"]["driver_domain"] == "True" and len(read["pcidevs"]) == 1
    (card,) = json.loads(xl_create(world, guest).stdout)["vsnds"]
    assert card["backend_domname"] == read["c_info"]["name"]


# -- what is written

STATE = "/local/domain/0/backend/vsnd/3/0/state"
TAKES = {(STATE, "1"): (STATE, "2"), (STATE, "5"): (STATE, "6")}
"""A backend that takes each card, and closes it when it is told to."""


def written(world: World) -> dict[str, tuple[str, list[str]]]:
    """Value and permissions of each node of cards."""
    found: dict[str, tuple[str, list[str]]] = {}

    def look(path: str) -> None:
        for name in world.dom0.list(path):
            below = f"{path}/{name}"
            found[below] = world.dom0.read(below), world.dom0.get_perms(below)
            look(below)

    for path in ("/local/domain/3/device", "/local/domain/0/backend", "/libxl/3"):
        if world.dom0.exists(path):
            look(path)
    return found


@pytest.fixture
def environ(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """For our commands, on the same XenStore."""
    monkeypatch.setenv("XENSTORED_PATH", world.server.socket_path(0))
    return {}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_we_write_and_remove_what_xl_does(
    path: Path, world: World, kept: Path, environ: dict[str, str]
) -> None:
    (items,) = tomllib.loads(path.read_text(encoding="utf-8"))["vsnd"]
    before = written(world)
    with Ends(world, TAKES):
        done = xl(world.server, "vsnd-attach", "3", *items, kept=kept)
        assert done.returncode == 0, done.stderr
        by_xl = written(world)
        done = xl(world.server, "vsnd-detach", "3", "0", kept=kept)
        assert done.returncode == 0, done.stderr
        assert written(world) == before
    run_attach("work", path, wait_sec=0, environ=environ)
    world.dom0.write(STATE, "2")  # as the backend did
    assert written(world) == by_xl
    world.dom0.write(STATE, "6")
    run_detach("work", environ=environ)
    assert written(world) == before


def test_xl_finds_and_detaches_our_card_and_we_its(
    world: World, kept: Path, environ: dict[str, str]
) -> None:
    before = written(world)
    example = EXAMPLES[0]
    with Ends(world, TAKES):
        run_attach("3", example, wait_sec=0, environ=environ)
        listed = xl(world.server, "vsnd-list", "3", kept=kept)
        assert 'short-name: "IVI", long-name: "Infotainment"' in listed.stdout, listed.stderr
        done = xl(world.server, "vsnd-detach", "3", "0", kept=kept)
        assert done.returncode == 0, done.stderr
        assert written(world) == before
        done = xl(world.server, "vsnd-attach", "3", "CARD", "STREAM, type=p", kept=kept)
        assert done.returncode == 0, done.stderr
        assert written(world) != before
        run_detach("3", environ=environ)
        assert written(world) == before
