"""Real systemd in dom0 and in a guest, and the project installed by its Debian packages.

dom0 was set up before its boot (inside/boot/before-systemd): the packages of a version before, and
a user who lingers. Nobody logs in. The guest installs its packages here and restarts; then all is
there by itself. The host's PipeWire plays into a FIFO, which is read here: what is heard.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cards import wait_connected
from dom0 import OUT, Lab, compare_frames, expect, wait_until
from frames import (
    FIRST_MARK,
    DifferentError,
    longest_silence,
    lost_frames,
    marked,
    sounding,
)
from guest import Guest, command
from installed import USER, VSND
from players import EndlessPipeWire
from round_trip import FRAMES, SINK

RATE = 48000
FRAME_BYTES = 4
FIFO = "/run/loudspeaker"
DEBS = "/run/lab/debs/new"
QUANTUM_FRAMES = 4096
# As our_front.py has them: the emulator stops now and then.
SETTINGS = f"""
quantum-frames = {QUANTUM_FRAMES}
period-frames = 2048
lead-frames = 16384
buffer-frames = 32768
"""
BACKEND, FRONTEND = "xen-pv-audio-backend", "xen-pv-audio-frontend"
# No rtkit here: on one emulated processor a real-time thread starves Xen's own interrupt threads.
WRONG_HERE = {"real-time"}
Shell = Callable[[str], str]


class Loudspeaker:
    """What the host's PipeWire plays, from now on."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._looked_at = 0
        self._sounding_frames = 0
        self._lock = threading.Lock()
        self._fd = os.open(FIFO, os.O_RDWR)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, 1 << 20)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while chunk := os.read(self._fd, 1 << 16):
            with self._lock:
                self._data += chunk
                whole = len(self._data) // FRAME_BYTES * FRAME_BYTES
                new = sounding(self._data[self._looked_at : whole])
                self._sounding_frames += len(new) // FRAME_BYTES
                self._looked_at = whole

    def heard(self) -> bytes:
        with self._lock:
            return bytes(self._data[: self._looked_at])

    def forget(self) -> None:
        with self._lock:
            del self._data[: self._looked_at]
            self._looked_at = 0

    def grows(self) -> Callable[[], bool]:
        """For wait_until(): whether a second more than now is heard."""
        enough = self._sounding_frames + RATE
        return lambda: self._sounding_frames > enough


def host(script: str) -> str:
    """dom0's root, whatever the status."""
    return command("bash", "-c", script, timeout_sec=300, check=False).output


def as_user(script: str) -> str:
    """The same for USER, of whom nobody needs to be logged in; dom0 and guest are of one image."""
    runtime = f"/run/user/{pwd.getpwnam(USER).pw_uid}"
    bus = f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus"
    return f"runuser -u {USER} -- env HOME=/home/{USER} XDG_RUNTIME_DIR={runtime} {bus} {script}"


def shown(shell: Shell, unit: str, *, user: bool = True) -> dict[str, str]:
    """What systemd says of a unit, the user's or the system's."""
    names = "ActiveState,SubState,StatusText,MainPID,NRestarts"
    script = f"systemctl {'--user ' if user else ''}show -p {names} {unit}"
    lines = shell(as_user(script) if user else script).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def wait_status(shell: Shell, unit: str, words: str, *, user: bool = True) -> dict[str, str]:
    """Until the unit's status line has `words`."""
    found: dict[str, str] = {}

    def told() -> bool:
        nonlocal found
        found = shown(shell, unit, user=user)
        time.sleep(1)
        return found.get("ActiveState") == "active" and words in found.get("StatusText", "")

    try:
        wait_until(told, f"{unit} with {words!r}", 240)
    except Exception:
        print(host(as_user(f"systemctl --user status --no-pager {unit}")), found, flush=True)
        raise
    return found


def doctor(shell: Shell, half: str) -> str:
    found = json.loads(shell(as_user(f"xen-pv-audio doctor {half} --json")))
    wrong = {finding["check"]: finding["text"] for finding in found if finding["level"] == "wrong"}
    expect(set(wrong) <= WRONG_HERE, f"doctor {half}: {wrong}")
    return f"doctor {half}: {len(found)} findings, wrong: {', '.join(wrong) or 'nothing'}"


def run(lab: Lab) -> None:
    with lab.scenario("systemd.host_serves_after_the_boot") as figures:
        found = wait_status(host, BACKEND, "0 guests")
        figures.append(f"up {host('cut -d. -f1 /proc/uptime').strip()} s: {found['StatusText']}")
        failed = host("systemctl --failed --no-legend --plain")
        expect("xen" not in failed, f"failed units: {failed}")
        socket = host("stat -Lc '%U:%G %a' /run/xenstored/socket").strip()
        expect(socket == "root:xen-audio 660", f"XenStore's socket is {socket}")
        sessions = host("loginctl list-sessions --no-legend").splitlines()
        # from systemd 256 on a user manager that runs without anybody is listed, too
        people = [line for line in sessions if " manager " not in f"{line} "]
        expect(not people, f"somebody is logged in: {people}")
        figures.append(doctor(host, "backend"))
    guest = Guest(vsnd=VSND, systemd=True)
    lab.explain_with(guest)
    guest.start(512)
    try:
        in_guest(lab, guest)
    finally:
        log = guest.run("journalctl --no-pager -b | tail -n 400; systemd-analyze blame | head -20")
        (OUT / "guest-journal.log").write_text(log.output)
        guest.destroy()


def in_guest(lab: Lab, guest: Guest) -> None:
    with lab.scenario("systemd.guest_installs_and_restarts") as figures:
        # The control: it is the package that keeps the kernel's driver out.
        guest.must(
            "for i in $(seq 60); do lsmod | grep ^snd_xen_front && exit; sleep 1; done; exit 1"
        )
        started = time.monotonic()
        guest.must(f"dpkg --install {DEBS}/*-common_*.deb {DEBS}/*-frontend_*.deb", 300)
        figures.append(f"dpkg {time.monotonic() - started:.0f} s")
        guest.must(
            f"usermod --append --groups xen-audio {USER}; mkdir -p /etc/xen-pv-audio; "
            f"printf '{SETTINGS}' > /etc/xen-pv-audio/frontend.toml"
        )
        figures.append(f"restart {guest.restart(240):.0f} s")
    speaker = Loudspeaker()
    with lab.scenario("systemd.sink_is_there_and_selected") as figures:
        figures += after_the_restart(guest)
    with lab.scenario("systemd.plays_bit_exact") as figures:
        guest.must(as_user(f"pw-metadata -n settings 0 clock.force-quantum {QUANTUM_FRAMES}"))
        speaker.forget()
        guest.must(as_user(f"timeout 110 pw-play {FRAMES}"))
        wait_until(lambda: lab.frames[-32:] in speaker.heard(), "the last frame")
        figures.append(compare_frames(heard(lab, speaker), lab.frames, silence_between=True))
    with lab.scenario("systemd.upgrade_while_a_guest_plays") as figures:
        figures += upgrade(lab, guest, speaker)
    with lab.scenario("systemd.restart_while_a_guest_plays") as figures:
        figures += restart(lab, guest, speaker)
    with lab.scenario("systemd.second_backend_waits_for_the_first_ones_end") as figures:
        figures += second(guest)


def heard(lab: Lab, speaker: Loudspeaker) -> bytes:
    """From the first frame that was played to the last."""
    data = speaker.heard()
    first, last = data.find(lab.frames[:32]), data.rfind(lab.frames[-32:])
    return data[first : last + 32] if 0 <= first < last else data


def after_the_restart(guest: Guest) -> Iterator[str]:
    def selected() -> bool:
        time.sleep(1)
        return f'node.name = "{SINK}"' in shell(as_user("wpctl inspect @DEFAULT_AUDIO_SINK@"))

    def shell(script: str) -> str:
        return guest.run(script).output

    wait_connected(guest)
    wait_until(selected, "the sink as the default one")
    yield f"{shell('cut -d. -f1 /proc/uptime').strip()} s after the guest's boot"
    found = wait_status(shell, FRONTEND, "1 card, 0 streams running")
    yield f"{FRONTEND}: {found['SubState']}, {found['StatusText']}, {found['NRestarts']} restarts"
    expect("snd_xen_front" not in shell("lsmod"), "the kernel's driver is there again")
    status = shell(as_user(f"systemctl --user status --no-pager {FRONTEND}"))
    expect("active (running)" in status and "1 card" in status, status)
    said = shell(as_user(f"journalctl --user --no-pager -o cat -u {FRONTEND}"))
    expect("Started" in said and "Traceback" not in said, f"the user's journal: {said[-400:]}")
    (OUT / "guest-status.txt").write_text(f"{status}\n{said}\n{shell(as_user('wpctl status'))}")
    yield doctor(shell, "frontend")
    yield wait_status(host, BACKEND, "1 guest")["StatusText"]


@contextmanager
def playing(guest: Guest, speaker: Loudspeaker) -> Iterator[list[bytes]]:
    """The numbered frames, round after round, by an application that goes on to the end. The list
    has afterwards what was heard before that; what its death does to its last cycles is PipeWire's.
    """
    heard: list[bytes] = []
    speaker.forget()
    play = as_user("timeout 400 pw-play")
    player = EndlessPipeWire(guest, play, RATE, FRAMES.replace(".wav", ".raw"), mark_rounds=True)
    player.until(speaker.grows(), "sound")
    try:
        yield heard
        player.until(speaker.grows(), "sound afterwards")
        heard.append(speaker.heard())
    except BaseException:
        player.kill()
        raise
    player.stop()


def lost(lab: Lab, data: bytes, name: str, most_frames: int = RATE) -> str:
    """No more than that; DifferentError if anything is heard twice, or was not played. `name`: of
    the recording, if it is kept."""
    played = sounding(data)
    rounds = played[-2] - FIRST_MARK + 1 if played else 0
    try:
        places = lost_frames(data, b"".join(marked(lab.frames, n) for n in range(rounds)))
    except DifferentError:
        (OUT / f"{name}.raw").write_bytes(data)
        raise
    told = (
        f"{len(played) // FRAME_BYTES} frames heard, {sum(places)} lost, the longest silence "
        f"{longest_silence(data)} frames"
    )
    expect(sum(places) < most_frames, f"{told}: {places}")
    return told


def upgrade(lab: Lab, guest: Guest, speaker: Loudspeaker) -> Iterator[str]:
    """As `apt-get upgrade` in dom0: what runs goes on."""
    before = shown(host, BACKEND)["MainPID"]
    version = "dpkg-query -W -f '${Version}' " + BACKEND
    old = host(version)
    with playing(guest, speaker) as heard:
        started = time.monotonic()
        said = host(f"dpkg --install {DEBS}/*-common_*.deb {DEBS}/*-backend_*.deb")
        took = time.monotonic() - started
    yield f"{old} to {host(version)} in {took:.0f} s"
    expect(old != host(version), f"dpkg: {said[-400:]}")
    expect(shown(host, BACKEND)["MainPID"] == before, "another backend runs")
    yield lost(lab, heard[0], "upgrade")


def restart(lab: Lab, guest: Guest, speaker: Loudspeaker) -> Iterator[str]:
    """The new version takes over, as packaging/doc/install.md says it."""
    before = shown(host, BACKEND)["MainPID"]
    with playing(guest, speaker) as heard:
        started = time.monotonic()
        host(as_user(f"systemctl --user restart {BACKEND}"))
        took = time.monotonic() - started
    back = time.monotonic() - started
    yield f"restarted in {took:.1f} s, sound again {back:.1f} s after its begin"
    expect(shown(host, BACKEND)["MainPID"] not in (before, "0"), "the same backend runs")
    # As long as a program takes to start here, the application plays to nobody.
    yield lost(lab, heard[0], "restart", round(back * RATE) + RATE)


def second(guest: Guest) -> Iterator[str]:
    first = shown(host, BACKEND)["MainPID"]
    words = f"a backend is running already for this domain (process {first})"
    host(f"systemctl start {BACKEND}")
    found = wait_status(host, BACKEND, f"waits: {words}", user=False)
    yield found["StatusText"]
    time.sleep(5)
    said = host(f"journalctl -b --no-pager -o cat -u {BACKEND}").splitlines()
    expect(len([line for line in said if words in line]) == 1, f"its journal: {said[-5:]}")
    mine = shown(host, BACKEND)
    expect(mine["MainPID"] == first and "1 guest" in mine["StatusText"], f"the first: {mine}")
    host(as_user(f"systemctl --user stop {BACKEND}"))
    yield f"then {wait_status(host, BACKEND, '1 guest', user=False)['StatusText']}"
    wait_connected(guest)
    host(as_user(f"systemctl --user start {BACKEND}"))
    idle = shown(host, BACKEND)
    expect(idle["ActiveState"] == "inactive", f"the user's beside the system's: {idle}")
    host(f"systemctl stop {BACKEND}; {as_user(f'systemctl --user start {BACKEND}')}")
    yield f"and the user's again: {wait_status(host, BACKEND, '1 guest')['StatusText']}"
    wait_connected(guest)
