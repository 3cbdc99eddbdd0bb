"""The examples in packaging/xl as the real `xl -N create` reads them, and our reading beside it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.xenstored import RealXenstored, program, shim
from xenpvaudio.toolstack.specification import parse_specification

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "packaging" / "xl").glob("*.cfg"))
WITHOUT_OURS = {"devid", "pcms", "streams", "params"}


@pytest.fixture(scope="module")
def xenstored() -> Iterator[RealXenstored]:
    server = RealXenstored()
    yield server
    server.close()


def xl_create(xenstored: RealXenstored, file: Path) -> subprocess.CompletedProcess[str]:
    """xl's dry run: it reads, prints what it would make, and makes nothing."""
    env = dict(os.environ)
    env |= {"XENSTORED_PATH": xenstored.socket_path(0), "LD_PRELOAD": str(shim("xlfake"))}
    command = [str(program("xl")), "-N", "create", str(file), 'kernel="vmlinuz"']
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


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
def test_xl_reads_an_example_as_we_do(path: Path, xenstored: RealXenstored) -> None:
    done = xl_create(xenstored, path)
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
def test_xl_reads_other_cards_as_we_do(
    items: str, xenstored: RealXenstored, tmp_path: Path
) -> None:
    file = tmp_path / "x.cfg"
    file.write_text(f'name = "x"; memory = 64\nvsnd = [ [ {items} ] ]\nvcpus = 1\n')
    done = xl_create(xenstored, file)
    assert done.returncode == 0, done.stderr
    (card,) = json.loads(done.stdout)["vsnds"]
    (ours,) = parse_specification(file.read_text(), "x.cfg")
    assert card.pop("backend_domname", "") == ours.backend
    assert nodes(card) == ours.nodes


@pytest.mark.parametrize(
    "item", ["STREAM, id=a", "TRACK", "STREAM, type=x", "CARD, sample-formats=mp3"]
)
def test_xl_refuses_what_we_refuse(item: str, xenstored: RealXenstored, tmp_path: Path) -> None:
    file = tmp_path / "x.cfg"
    file.write_text(f'name = "x"\nvsnd = [ [ "{item}", "STREAM, type=p" ] ]\n')
    assert xl_create(xenstored, file).returncode != 0
    with pytest.raises(Exception, match=r"x\.cfg, line 2"):
        parse_specification(file.read_text(), "x.cfg")
