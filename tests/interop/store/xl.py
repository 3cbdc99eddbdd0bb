"""Debian's real xl, on its real xenstored, without Xen (xlfake.c says how far that goes).

What libxl keeps of a domain is below /var/lib/xen: a folder of the test's is put there, in a mount
namespace of xl's own.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from interop.world import Server
from interop.xenstored import program, shim

NO_UUID = "00000000-0000-0000-0000-000000000000"  # of every domain, in xlfake.c
LIMIT_SEC = 60.0  # only a bound for a test that fails


def xl(server: Server, *words: str, kept: Path | None = None) -> subprocess.CompletedProcess[str]:
    """One command. `kept`: what libxl keeps of domains; skips where no namespace can be had."""
    command = [str(program("xl")), *words]
    preload = f"LD_PRELOAD={shim('xlfake')}"
    if kept is None:
        command = ["env", preload, *command]
    else:
        unshare = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
        mounts = (
            "mount -t tmpfs none /var/lib && mkdir /var/lib/xen && "
            f"mount --bind {shlex.quote(str(kept))} /var/lib/xen"
        )
        if subprocess.run([*unshare, "sh", "-c", mounts], capture_output=True).returncode:
            pytest.skip("no mount namespace can be had here")
        command = [*unshare, "sh", "-c", f'{mounts} && exec env {preload} "$@"', "sh", *command]
    env = {**os.environ, "XENSTORED_PATH": server.socket_path(0)}
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=LIMIT_SEC
    )


def keep_domain(server: Server, kept: Path, domid: int) -> None:
    """As if xl had created it."""
    file = kept / "plain.cfg"
    file.write_text('name = "plain"\nkernel = "vmlinuz"\nmemory = 64\n')
    made = xl(server, "-N", "create", str(file))
    assert made.returncode == 0, made.stderr
    (kept / f"userdata-d.{domid}.{NO_UUID}.libxl-json").write_text(made.stdout)
