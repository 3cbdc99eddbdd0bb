"""Backend and frontend in one process on the simulated hypervisor, without PipeWire: what requests
do, told by both ends' own view."""

from __future__ import annotations

import asyncio
import logging
import struct
from pathlib import Path

import pytest

from pair import CONFIG, Pair, run
from waiting import wait_for
from xenpvaudio.backend.mixing import VOLUME_SEC
from xenpvaudio.backend.outputs import _VirtualPort
from xenpvaudio.errors import PeerProtocolError
from xenpvaudio.frontend.device import RETRY_SEC
from xenpvaudio.frontend.link import FrontLink
from xenpvaudio.frontend.node import Wanted
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import Operation, PcmFormat, Status
from xenpvaudio.sndif.hwparams import Config, from_stream_config
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xenbus.states import Action, XenbusState


def test_volumes_are_set_and_read_back_to_the_step_a_channel_each(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        await pair.link.open(CONFIG, 512)
        wrote = struct.pack("=ii", -12345, -1)
        assert (await pair.control(Operation.SET_VOLUME, wrote))[0] == Status.OK
        status, read = await pair.control(Operation.GET_VOLUME, bytes(8))
        assert (status, read) == (Status.OK, wrote)

    run(tmp_path, body)


def test_volumes_in_a_row_reach_the_host_as_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[tuple[int, ...]] = []
    monkeypatch.setattr(_VirtualPort, "apply", lambda _, mixer: applied.append((*mixer.steps,)))

    async def body(pair: Pair) -> None:
        await pair.link.open(CONFIG, 512)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for step in range(100):
            wrote = struct.pack("=ii", -step, -step)
            assert (await pair.control(Operation.SET_VOLUME, wrote))[0] == Status.OK
        await wait_for(lambda: bool(applied) and applied[-1] == (-99, -99))
        assert applied[0] == (0, 0)  # the first one at once
        assert len(applied) <= 2 + (loop.time() - began) / VOLUME_SEC
        assert len(applied) < 100

    run(tmp_path, body)


def test_mute_and_unmute_reach_the_channels_that_are_meant(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        await pair.link.open(CONFIG, 512)
        stream = pair.back.streams["0/0"]
        assert (await pair.control(Operation.MUTE, b"\0\1"))[0] == Status.OK
        assert stream.mixer.muted == [False, True]
        assert (await pair.control(Operation.MUTE, b"\1\0"))[0] == Status.OK
        assert stream.mixer.all_muted
        assert (await pair.control(Operation.UNMUTE, b"\0\1"))[0] == Status.OK
        assert stream.mixer.muted == [True, False]

    run(tmp_path, body)


def test_volume_before_open_and_past_the_buffer_are_refused(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        asked = packets.TransferRequest(0, Operation.SET_VOLUME, 0, 8)
        assert (await pair.link.ask(asked)).status == Status.EIO
        await pair.link.open(CONFIG, 512)
        late = packets.TransferRequest(0, Operation.SET_VOLUME, CONFIG.buffer_bytes - 4, 8)
        assert (await pair.link.ask(late)).status == Status.EINVAL

    run(tmp_path, body)


def test_close_without_open_is_accepted_as_linux_sends_it_at_hw_free(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        assert (await pair.link.ask(packets.CloseRequest(0))).status == Status.OK

    run(tmp_path, body)


def test_open_while_open_replaces_the_stream_without_close(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        await pair.link.open(CONFIG, 512)
        first = pair.link._buffer, pair.link._directory
        other = Config(PcmFormat.S32_LE, 48000, 1, 128, 2048)
        await pair.link.open(other, 256)
        assert pair.back.streams["0/0"].opened == other
        for grant in first:
            assert grant is not None
            grant.close()

    run(tmp_path, body)


def test_open_with_stale_references_is_refused_and_the_stream_lives(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        asked = packets.OpenRequest(0, 48000, PcmFormat.S16_LE, 2, 4096, 999999, 1024)
        assert (await pair.link.ask(asked)).status == Status.EINVAL
        await pair.link.open(CONFIG, 512)

    run(tmp_path, body)


def test_open_beyond_policy_is_refused(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        huge = Config(PcmFormat.S16_LE, 48000, 2, 256, (1 << 20) // 4 + 1024)
        with pytest.raises(PeerProtocolError, match="EINVAL"):
            await pair.link.open(huge, 512)

    run(tmp_path, body)


def test_a_query_is_answered_with_a_part_of_the_question(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        everything = from_stream_config(pair.front.streams()[0].config)
        response = await pair.link.ask(packets.QueryRequest(0, everything))
        assert response.space is not None
        assert everything.covers(response.space)

    run(tmp_path, body)


def test_both_ends_announce_the_position_extension(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        store = pair.back.store
        assert store.read("/local/domain/1/device/vsnd/0/feature-position-ext") == "1"
        assert store.read("/local/domain/0/backend/vsnd/1/0/feature-position-ext") == "1"

    run(tmp_path, body)


def test_streams_of_one_card_share_a_virtual_device_in_pairs(tmp_path: Path) -> None:
    nodes = card_nodes()
    nodes |= {f"1{path[1:]}": text for path, text in nodes.items() if path.startswith("0/")}

    async def body(pair: Pair) -> None:
        links = {stream.config.path: stream.link for stream in pair.front.streams()}
        assert sorted(links) == ["0/0", "0/1", "1/0", "1/1"]

        def device(path: str) -> object:
            port = pair.back.streams[path]._port
            assert isinstance(port, _VirtualPort)
            return port._device

        for link in links.values():
            assert link is not None
            await link.open(CONFIG, 512)
        assert device("0/0") is device("0/1")
        assert device("1/0") is device("1/1")
        assert device("0/0") is not device("1/0")
        first, link = device("0/0"), links["0/0"]
        assert link is not None
        await link.close()
        await link.open(CONFIG, 512)  # its place was kept by nobody, and is free again
        assert device("0/0") is first

    run(tmp_path, body, nodes)


def test_stream_that_finds_no_pages_says_so_once_and_opens_when_there_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pair: Pair) -> None:
        hoard = pair.front._domain.grants.grant(0, 1010)
        stream = pair.front.streams()[0]
        stream._wanted = Wanted(PcmFormat.S16_LE, 48000, 2)  # as if the graph had set it
        stream._wake.set()
        links: list[FrontLink] = []
        started = asyncio.get_running_loop().time()
        while len(links) < 4:  # a connection for each attempt
            if stream.link is not None and stream.link not in links:
                links.append(stream.link)
            await asyncio.sleep(0.01)
        took = asyncio.get_running_loop().time() - started
        hoard.close()
        lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert len(lines) == 1, lines
        assert "cannot grant" in lines[0]
        # the first at once, then one each RETRY_SEC: no storm of connections
        assert took > 1.9 * RETRY_SEC
        await wait_for(lambda: stream.opened is not None)

    run(tmp_path, body)


def test_rings_that_changed_are_taken_over_once_however_often_one_looks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pair: Pair) -> None:
        caplog.clear()
        await pair.front._detach()
        await pair.front._publish()
        for _ in range(3):  # a watch that fires late: each look finds the newest state
            pair.back.look()
        await wait_for(lambda: pair.back.idle and bool(pair.back.streams))
        await pair.front.act(Action.ATTACH)
        await pair.link.open(CONFIG, 512)
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []

    run(tmp_path, body)


def test_in_a_directory_each_stream_is_recorded_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()

    async def body(pair: Pair) -> None:
        await pair.link.open(CONFIG, 512)
        found = (tmp_path / "recordings").iterdir()
        assert [path.name for path in found] == ["work.0.0.0.wav"]

    run(tmp_path, body, record=tmp_path / "recordings")


def test_a_backend_that_stops_leaves_the_frontend_waiting_for_the_next(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        await pair.backend.stop()
        await wait_for(lambda: pair.front.state is XenbusState.INITIALISING)
        assert pair.front.streams()[0].link is None

    run(tmp_path, body)


def test_a_card_that_is_taken_away_leaves_no_nodes_behind(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        pair.back.store.remove(pair.back.directory)
        # an offer that is under way just then: the guest had gone back to Initialising
        await pair.back.act(Action.OFFER)
        assert not pair.back.store.exists(pair.back.directory)

    run(tmp_path, body)
