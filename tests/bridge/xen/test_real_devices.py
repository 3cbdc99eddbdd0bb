"""What real Xen's devices are asked for: xen_devices.c plays them, in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.xen.sim_world import ENVIRONMENT

SOURCE = Path(__file__).with_name("xen_devices.c")

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("devices") / "xen_devices.so"
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", library, SOURCE, "-ldl"], check=True)
    return library


def run(devices: Path, code: str, **environment: str) -> list[str]:
    """What the devices and `code` said."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=ENVIRONMENT | {"LD_PRELOAD": str(devices)} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


CHANNELS = """
from xenpvaudio.xen.real.evtchn import XenEventChannels
channels = XenEventChannels()
channels.bind_interdomain(3, 7)
channels.bind_unbound(4)
"""


def test_channel_is_restricted_before_it_is_bound_and_after_it_is_offered(devices: Path) -> None:
    """The kernel refuses a restricted descriptor that offers a port, whomever to."""
    assert run(devices, CHANNELS) == [
        "restrict 3: ok",
        "bind 7 of 3: ok",
        "offer to 4: ok",
        "restrict 4: ok",
    ]


def test_descriptor_of_a_channel_binds_no_port_of_another_domain(devices: Path) -> None:
    code = """
from xenpvaudio.xen.native import native
from xenpvaudio.xen.real.evtchn import XenEventChannels
channel = XenEventChannels().bind_interdomain(3, 7)
print(native()[1].xpa_evtchn_bind_interdomain(channel.fd, 9, 7))
"""
    assert run(devices, code)[2:] == ["bind 7 of 9: Permission denied", "-13"]


def test_kernel_that_cannot_restrict_a_channel_is_no_error(devices: Path) -> None:
    said = run(devices, CHANNELS, XEN_OLD_KERNEL="1")
    assert said[:2] == ["restrict 3: Function not implemented", "bind 7 of 3: ok"]


def test_channel_with_domain_0_is_bound_without(devices: Path) -> None:
    code = "from xenpvaudio.xen.real.evtchn import XenEventChannels\n"
    assert run(devices, code + "XenEventChannels().bind_unbound(0)") == ["offer to 0: ok"]


@pytest.mark.parametrize("call", ["bind_unbound(3)", "bind_interdomain(3, 7)"])
def test_no_event_channel_left_is_one_clear_error(devices: Path, call: str) -> None:
    code = f"""
from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.real.evtchn import XenEventChannels
try:
    XenEventChannels().{call}
except UnavailableError as error:
    print(error)
"""
    said = run(devices, code, XEN_NO_PORTS="1")
    assert said[-1] == "no event channel with domain 3: No space left on device"


@pytest.mark.parametrize(("read_only", "expected"), [(True, "r--s"), (False, "rw-s")])
def test_mapping_asks_the_device_for_no_more_than_is_wanted(
    devices: Path, read_only: bool, expected: str
) -> None:
    code = f"""
from bridge.xen.sim_world import rights
from xenpvaudio.xen.real.gnttab import XenGrantTable
mapping = XenGrantTable().map(3, [8, 9], read_only={read_only})
print(rights(mapping.address), mapping.view.readonly)
mapping.close()
"""
    said = run(devices, code)
    assert said == ["map 2 pages of 3: ok", f"{expected} {read_only}", "unmap: ok"]
