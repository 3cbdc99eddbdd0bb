"""doctor in guests and on hosts without PipeWire."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenpvaudio.control import plain_checks
from xenpvaudio.control.doctor import examine
from xenpvaudio.control.finding import Level
from xenpvaudio.control.machine import Machine, User


def put(root: Path, name: str, text: str = "", mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def machine(root: Path, uid: int = 1000) -> Machine:
    user = User("somebody", uid, frozenset({uid}), 0)
    return Machine(root, {"XDG_RUNTIME_DIR": "/run/user/1000", "HOME": "/home/somebody"}, user)


@pytest.mark.parametrize("missing", ["", "pcm", "ctl", "conf", "sock"])
def test_what_an_alsa_guest_lacks_is_found(tmp_path: Path, missing: str) -> None:
    names = {
        "pcm": "usr/lib/x86_64-linux-gnu/alsa-lib/libasound_module_pcm_xenpv.so",
        "ctl": "usr/lib/x86_64-linux-gnu/alsa-lib/libasound_module_ctl_xenpv.so",
        "conf": "usr/share/alsa/alsa.conf.d/50-xen-pv-audio.conf",
        "sock": "run/xen-pv-audio-frontend/xen-pv-audio-alsa.sock",
    }
    for kind, name in names.items():
        if kind != missing:
            put(tmp_path, name)
    found = list(plain_checks.alsa_guest(machine(tmp_path)))
    assert len(found) == 4
    wrong = [finding for finding in found if finding.level is Level.WRONG]
    assert len(wrong) == bool(missing)
    assert all(finding.mend for finding in wrong)


def checks(root: Path, half: str) -> set[str]:
    return {finding.check for finding in examine(machine(root), half)}


def test_a_guest_that_serves_alsa_is_asked_for_no_pipewire(tmp_path: Path) -> None:
    put(tmp_path, "etc/xen-pv-audio/frontend.toml", 'serve = "alsa"\n')
    found = checks(tmp_path, "frontend")
    assert "alsa" in found
    assert not {"pipewire", "session-manager", "quantum"} & found


def test_a_host_is_asked_for_what_its_outputs_need(tmp_path: Path) -> None:
    policy = "etc/xen-pv-audio/backend.toml"
    put(tmp_path, policy, '[default]\noutput = "pulse"\n')
    assert "pulse" in checks(tmp_path, "backend")
    assert "pipewire" not in checks(tmp_path, "backend")
    put(tmp_path, policy, '[default]\noutput = "pulse"\n[domain.a]\noutput = "alsa:hw:0,0"\n')
    assert {"pulse", "alsa"} <= checks(tmp_path, "backend")
    put(tmp_path, policy, '[domain.a]\noutput = "alsa:hw:0,0"\n')
    assert {"pipewire", "alsa"} <= checks(tmp_path, "backend")


def test_sound_devices_that_this_user_may_not_open_are_named(tmp_path: Path) -> None:
    (none,) = plain_checks.host_without_pipewire(machine(tmp_path), {"alsa"})
    assert none.level is Level.WRONG
    put(tmp_path, "dev/snd/pcmC0D0p", mode=0o660)
    put(tmp_path, "dev/snd/pcmC0D0c", mode=0o666)
    (found,) = plain_checks.host_without_pipewire(machine(tmp_path, 54321), {"alsa"})
    assert (found.level, "/dev/snd/pcmC0D0p" in found.text) == (Level.WRONG, True)
    assert "pcmC0D0c" not in found.text
    (root,) = plain_checks.host_without_pipewire(machine(tmp_path, 0), {"alsa"})
    assert root.level is Level.OK
