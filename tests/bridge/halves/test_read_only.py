"""What of a guest's memory the backend can write: what it must, and no more."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from bridge.xen.sim_world import rights
from pair import CONFIG, Pair, run
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import PAGE_BYTES, Operation, Status
from xenpvaudio.xen.api import Mapping
from xenpvaudio.xen.sim.domain import SimGrantTable


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], str]]:
    """References of each mapping from now on, and the rights that it gives."""
    found: list[tuple[tuple[int, ...], str]] = []
    original = SimGrantTable.map

    def noting(
        table: SimGrantTable, peer: int, refs: Sequence[int], *, read_only: bool = False
    ) -> Mapping:
        mapping = original(table, peer, refs, read_only=read_only)
        found.append((mapping.refs, rights(mapping.address)))
        return mapping

    monkeypatch.setattr(SimGrantTable, "map", noting)
    return found


def open_mappings(pair: Pair) -> int:
    table = pair.backend._domain.grants
    assert isinstance(table, SimGrantTable)
    return len(table.live.of_type(object))


def test_page_directory_and_playback_buffer_are_mapped_to_be_read(
    tmp_path: Path, mapped: list[tuple[tuple[int, ...], str]]
) -> None:
    async def body(pair: Pair) -> None:
        mapped.clear()
        await pair.link.open(CONFIG, 512)
        directory, buffer = pair.link._directory, pair.link._buffer
        assert directory is not None and buffer is not None
        assert mapped == [(directory.refs, "r--s"), (buffer.refs, "r--s")]

    run(tmp_path, body)


def test_capture_buffer_is_mapped_to_be_written(
    tmp_path: Path, mapped: list[tuple[tuple[int, ...], str]]
) -> None:
    async def body(pair: Pair) -> None:
        link = pair.front.streams()[1].link
        assert link is not None
        mapped.clear()
        await link.open(CONFIG, 512)
        assert [what for _refs, what in mapped] == ["r--s", "rw-s"]

    run(tmp_path, body)


def test_volumes_are_written_through_a_mapping_of_the_pages_they_are_on(
    tmp_path: Path, mapped: list[tuple[tuple[int, ...], str]]
) -> None:
    async def body(pair: Pair) -> None:
        await pair.link.open(CONFIG, 512)
        buffer = pair.link._buffer
        assert buffer is not None
        offset = 2 * PAGE_BYTES - 4  # a channel's on the second page, the other's on the third
        buffer.view[offset : offset + 8] = volumes = struct.pack("=ii", -2000, -3000)
        asked = packets.TransferRequest(0, Operation.SET_VOLUME, offset, 8)
        assert (await pair.link.ask(asked)).status == Status.OK
        buffer.view[offset : offset + 8] = bytes(8)
        mapped.clear()
        before = open_mappings(pair)
        asked = packets.TransferRequest(0, Operation.GET_VOLUME, offset, 8)
        assert (await pair.link.ask(asked)).status == Status.OK
        assert bytes(buffer.view[offset : offset + 8]) == volumes
        assert mapped == [(buffer.refs[1:3], "rw-s")]
        assert open_mappings(pair) == before

    run(tmp_path, body)


def test_volumes_of_a_buffer_that_may_not_be_written_are_refused_and_the_stream_lives(
    tmp_path: Path,
) -> None:
    async def body(pair: Pair) -> None:
        await pair.link.open(CONFIG, 512)
        assert pair.link._buffer is not None
        pair.link._buffer.close()  # nothing of it can be mapped any more, what is mapped stays
        asked = packets.TransferRequest(0, Operation.GET_VOLUME, 0, 8)
        assert (await pair.link.ask(asked)).status == Status.EACCES
        assert (await pair.link.ask(packets.CloseRequest(0))).status == Status.OK

    run(tmp_path, body)
