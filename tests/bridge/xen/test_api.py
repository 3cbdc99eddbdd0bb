"""Real Xen's implementations where there is no Xen: importable, and clear about what is missing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xenpvaudio.errors import ConfigError, UnavailableError, XenPvAudioError
from xenpvaudio.xen import api, native, pages
from xenpvaudio.xen.connect import domain_from_env
from xenpvaudio.xen.real import gnttab
from xenpvaudio.xen.real.evtchn import XenEventChannels
from xenpvaudio.xen.real.gnttab import XenGrantTable
from xenpvaudio.xen.sim import Toolstack, start_hypervisor

without_xen = pytest.mark.skipif(os.path.exists("/dev/xen"), reason="this machine has Xen")


def run_without(code: str, *missing: str) -> str:
    """Runs `code` where these modules cannot be imported; its output."""
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in missing)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {blocked}\n{code}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_package_imports_without_the_compiled_extension() -> None:
    run_without(
        "import xenpvaudio.xen.connect, xenpvaudio.xen.real.gnttab, xenpvaudio.xen.real.evtchn, "
        "xenpvaudio.xen.real.xenstore, xenpvaudio.xen.sim",
        "xenpvaudio_native._native",
    )


def test_missing_extension_is_one_clear_line() -> None:
    code = """
from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.real.gnttab import XenGrantTable
try:
    XenGrantTable().grant(1, 1)
except UnavailableError as error:
    print(error)
"""
    assert "make setup" in run_without(code, "xenpvaudio_native._native")


@without_xen
def test_no_xen_here_is_unavailable_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XENSTORED_PATH", raising=False)
    with pytest.raises(UnavailableError, match=r"no XenStore here.*Xen domain.*XEN_PV_AUDIO_SIM"):
        domain_from_env(environ={})


@without_xen
@pytest.mark.parametrize(
    ("call", "device"),
    [
        (lambda: XenGrantTable().grant(1, 1), "gntalloc"),
        (lambda: XenGrantTable().map(1, [8]), "gntdev"),
        (lambda: XenEventChannels().bind_unbound(1), "evtchn"),
        (lambda: XenEventChannels().bind_interdomain(1, 2), "evtchn"),
    ],
)
def test_missing_device_is_named(call: Callable[[], object], device: str) -> None:
    with pytest.raises(UnavailableError, match=f"/dev/xen/{device}: No such file.*xen-{device}"):
        call()


def test_named_store_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XENSTORED_PATH", str(tmp_path / "none"))
    with pytest.raises(UnavailableError, match=f"{tmp_path}/none"):
        domain_from_env(environ={})


@pytest.mark.parametrize("where", ["dir", "dir:", ":1", "dir:x", "dir:-1", "dir:²"])
def test_malformed_simulation_variable_is_a_configuration_error(where: str) -> None:
    with pytest.raises(ConfigError, match="DIR:DOMID"):
        domain_from_env(environ={"XEN_PV_AUDIO_SIM": where})


def test_simulation_that_does_not_run_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no simulated domain 1"):
        domain_from_env(environ={"XEN_PV_AUDIO_SIM": f"{tmp_path}:1"})


def test_environment_chooses_the_simulated_domain(tmp_path: Path) -> None:
    with start_hypervisor(tmp_path), Toolstack(str(tmp_path)) as toolstack:
        toolstack.create_domain(4, "four")
        domain = domain_from_env(environ={"XEN_PV_AUDIO_SIM": f"{tmp_path}:4"})
        assert domain.domid == domain.store.domid == 4
        assert domain.store.read("name") == "four"
        domain.close()


def test_store_socket_named_in_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with start_hypervisor(tmp_path):
        monkeypatch.setenv("XENSTORED_PATH", str(tmp_path / "dom0" / "xenstore"))
        domain = domain_from_env(environ={})
        assert domain.domid == 0
        domain.store.write("/t", "1")
        domain.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOENT, api.NotFoundError),
        (errno.EACCES, api.AccessError),
        (errno.EPERM, api.AccessError),
        (errno.ENOSPC, api.QuotaError),
        (errno.E2BIG, api.QuotaError),
        (errno.EAGAIN, api.ConflictError),
        (errno.EINVAL, api.XenStoreError),
    ],
)
def test_store_errors_keep_their_number_and_name_the_path(
    code: int, kind: type[api.XenStoreError]
) -> None:
    error = api.store_error(code, "read /a/b")
    assert type(error) is kind
    assert error.code == code
    assert isinstance(error, XenPvAudioError)
    assert "cannot read /a/b" in str(error)


def test_grant_limit_error_names_the_kernel_s_file() -> None:
    error = gnttab._grant_error(OSError(errno.ENOSPC, "x"), 7, 5)
    assert isinstance(error, api.GrantLimitError)
    assert "/sys/module/xen_gntalloc/parameters/limit" in str(error)
    assert "cannot grant 5 more pages" in str(error)


def test_what_the_kernel_will_not_share_is_one_line_that_names_the_domain() -> None:
    refused = OSError(errno.EPERM, os.strerror(errno.EPERM))
    error = gnttab._grant_error(refused, 7, 5)
    assert isinstance(error, UnavailableError)
    assert str(error) == "cannot grant 5 pages to domain 7: Operation not permitted"
    mapping = pages.SharedPages(7, [8], pages.PageRange(1))
    error = gnttab._map_error(refused, mapping)
    assert isinstance(error, UnavailableError)
    assert "domain 7" in str(error) and "Operation not permitted" in str(error)


def test_ranges_are_split_into_chunks_without_a_gap() -> None:
    for total in (1, 1023, 1024, 1025, 5000):
        parts = list(pages.chunks(total))
        assert [first for first, _ in parts] == [
            sum(count for _, count in parts[:i]) for i in range(len(parts))
        ]
        assert sum(count for _, count in parts) == total


def test_files_at_any_offset_are_contiguous_in_a_range(tmp_path: Path) -> None:
    file = tmp_path / "pages"
    file.write_bytes(b"".join(bytes([n]) * api.PAGE_BYTES for n in range(4)))
    fd = os.open(file, os.O_RDWR)
    found = pages.PageRange(3)
    found.map(1, 2, fd, 2 * api.PAGE_BYTES)
    found.map(0, 1, fd, 1 * api.PAGE_BYTES)
    assert [found.view[n * api.PAGE_BYTES] for n in range(3)] == [1, 2, 3]
    with pytest.raises(OSError):
        found.map(0, 1, -1, 0)
    found.unmap()
    os.close(fd)


def test_ioctls_of_a_file_that_is_no_device_fail_with_its_errno(tmp_path: Path) -> None:
    ffi, lib = native.native()
    refs, index = ffi.new("uint32_t[4]"), ffi.new("uint64_t *")
    with open(tmp_path / "file", "wb") as file:
        fd = file.fileno()
        assert lib.xpa_gntalloc_alloc(fd, 1, 4, refs, index) == -errno.ENOTTY
        assert lib.xpa_gntdev_map(fd, 1, refs, 4, index) == -errno.ENOTTY
        assert lib.xpa_evtchn_bind_unbound(fd, 1) == -errno.ENOTTY
        channel = ffi.new("struct xpa_channel *", {"fd": fd, "port": 1, "kind": 0})
        assert lib.xpa_channel_notify(channel) == -errno.ENOTTY
    for count, domid in ((0, 1), (65537, 1), (1, 65536)):
        assert lib.xpa_gntalloc_alloc(-1, domid, count, refs, index) == -errno.EINVAL
        assert lib.xpa_gntdev_map(-1, domid, refs, count, index) == -errno.EINVAL
