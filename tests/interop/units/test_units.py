"""The units under a real systemd: what they forbid is forbidden, and sound is heard nonetheless."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from interop.units import place

ROOT = Path(__file__).resolve().parents[3]
PLACE = str(ROOT / "tests" / "interop" / "units" / "place.py")


def why_not() -> str:
    """Why there cannot be a user with a systemd here; empty if there can."""
    if os.geteuid() != 0:
        return "only root can make a place for a systemd"
    for command in (
        ["unshare", *place.NAMESPACES, "true"],
        ["setpriv", f"--reuid={place.USER}", "--clear-groups", "unshare", "--user", "true"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:  # in a chroot, for one
            return f"{' '.join(command)}: {done.stderr.strip()}"
    return ""


WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def run(user: str, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    if not Path("/usr/lib/systemd/systemd").exists():
        pytest.fail("systemd is missing: apt install systemd")
    command = ["unshare", *place.NAMESPACES, sys.executable, PLACE, str(ROOT), user, module, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def play(*changes: str) -> subprocess.CompletedProcess[str]:
    return run(place.USER, "interop.units.session", *changes)


def heard(*changes: str) -> dict[str, Any]:
    done = play(*changes)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_sound_is_heard_from_halves_that_their_units_confine() -> None:
    found = heard()
    assert found["played"] == 0
    assert found["loud"] > 40000, found["logs"]  # of 48000 samples
    user = pwd.getpwnam(place.USER).pw_uid
    for role, half in found["halves"].items():
        assert half["seccomp"] == ["2"]
        assert half["bounding"] == ["0" * 16]
        assert half["network"] and half["user"]
        assert {"/", "/proc/sys", "/sys/fs/cgroup", "/run/user"} <= set(half["read_only"])
        assert {"/tmp", f"/run/user/{user}"} <= set(half["writable"])
        assert half["open_files"] == [{"backend": "4096", "frontend": "1024"}[role]]
        assert half["real_time"] or not found["may_be_real_time"]
        # Active is a unit of this type only after it has said that it is ready.
        assert (half["type"], half["active"], half["watchdog"]) == ("notify", "active", "1min")
        held = {"backend": "1 guest", "frontend": "1 card"}[role]
        assert re.match(rf"{held}, \d streams? running", half["status"]), half["status"]
    for log in found["logs"].values():
        assert not re.search("denied|not permitted|Traceback", log), log


def test_systemd_ends_a_half_whose_loop_is_stuck_and_no_other() -> None:
    done = run(place.USER, "interop.units.watchdog", "10")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["before"] == {"backend": "active", "frontend": "active"}
    assert told["after"] == {"backend": "watchdog", "frontend": "active"}


def test_systemd_gives_up_a_half_that_never_starts() -> None:
    done = run(place.USER, "interop.units.giving_up", "0.05")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["ActiveState"], told["ExecMainStatus"]) == ("failed", "226"), told
    assert told["NRestarts"] == "60"


def test_a_unit_that_forbids_what_is_needed_is_noticed() -> None:
    done = play("RestrictAddressFamilies=", "RestrictAddressFamilies=AF_INET")
    assert done.returncode != 0
    assert "ended: OSError: [Errno 97] Address family not supported" in done.stderr


def test_units_run_where_users_have_no_namespaces() -> None:
    text = (ROOT / "packaging" / "systemd" / "no-user-namespaces.conf").read_text(encoding="utf-8")
    changes = text.partition("[Service]\n")[2].splitlines()
    found = heard(*changes)
    assert found["loud"] > 40000, found["logs"]
    for half in found["halves"].values():
        assert half["seccomp"] == ["2"]
        assert not half["user"]  # nor did one make a namespace after all


def test_xenstore_helper_opens_the_socket_to_the_group_and_to_nobody_else() -> None:
    group = pwd.getpwnam(place.USER).pw_gid
    done = run("root", "interop.units.helper", grp.getgrgid(group).gr_name)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "/run/xenstored": [0, group, "drwx--x---"],
        "/run/xenstored/socket": [0, group, "srw-rw----"],
    }
