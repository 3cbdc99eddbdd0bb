"""A stream that cannot be made, because this process has no descriptor left, keeps nothing: no
descriptor, no page, no channel. On the simulated hypervisor."""

from __future__ import annotations

from pathlib import Path

from bridge.xen.sim_world import descriptors, room_for
from pair import Pair, run
from xenpvaudio.backend.port import Identity
from xenpvaudio.backend.stream import BackendStream
from xenpvaudio.errors import UnavailableError

ENOUGH = 12


def test_a_backend_stream_that_finds_no_descriptor_keeps_nothing(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        like = next(iter(pair.back.streams.values()))
        guest = pair.link._domain

        def make(room: int) -> BackendStream:
            pages = [guest.grants.grant(0, 1) for _ in range(2)]
            offered = [guest.channels.bind_unbound(0) for _ in range(2)]
            try:
                with room_for(room):
                    return BackendStream(
                        like._engine,
                        like._domain,
                        1,
                        like.config,
                        (pages[0].refs[0], offered[0].port, pages[1].refs[0], offered[1].port),
                        like.output,
                        Identity("work", "vsnd/0 0/9", False),
                        where="a stream that is refused",
                        position_ext=True,
                        liveness_ext=False,
                        volume_ext=False,
                        record=None,
                        on_error=lambda error: None,
                    )
            finally:
                for thing in (*pages, *offered):
                    thing.close()

        owners = len(like._engine._notice_owners)
        for room in range(ENOUGH):
            before = descriptors()
            try:
                stream = make(room)
            except UnavailableError:
                assert descriptors() == before, f"with room for {room}"
                assert len(like._engine._notice_owners) == owners
            else:
                await stream.detach()
                break
        assert 0 < room < ENOUGH - 1

    run(tmp_path, body)
