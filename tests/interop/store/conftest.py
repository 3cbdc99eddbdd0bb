"""Each test of the XenStore runs on the simulated one and on Debian's real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.world import World, make_world


@pytest.fixture(params=["simulated", "xenstored"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    world = make_world(request.param, tmp_path)
    yield world
    world.close()
