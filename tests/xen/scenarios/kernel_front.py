"""Our backend in dom0 against the Linux kernel's frontend, snd_xen_front, in a guest."""

from __future__ import annotations

import subprocess
import time

from dom0 import OUT, Daemon, Lab, compare_frames, expect, store_read, wait_until, wav_data
from guest import Guest

CARD = (
    "CARD, short-name=XenLab, long-name=Xen lab card, sample-rates=44100;48000, "
    "sample-formats=s16_le;s32_le, channels-max=2, buffer-size=65536"
)
STREAMS = ("PCM, name=Lab PCM", "STREAM, unique-id=play0, type=p", "STREAM, unique-id=cap0, type=c")
VSND = f"vsnd = [ [ {', '.join(repr(text) for text in (CARD, *STREAMS))} ] ]"
RAW = "-D hw:0,0 -q -t raw -f S16_LE -r 48000 -c 2"
FRAMES = "/run/lab/job/frames.raw"
RECORD = OUT / "kernel-play.wav"


def periods(period: int, count: int) -> str:
    return f"--period-size={period} --buffer-size={period * count}"


def backend_state(guest: Guest) -> str | None:
    return store_read(f"/local/domain/0/backend/vsnd/{guest.domid}/0/state")


def wait_connected(guest: Guest, timeout_sec: float = 20) -> float:
    return wait_until(lambda: backend_state(guest) == "4", "Connected", timeout_sec)


class StateTimes:
    """When libxl made the backend's directory, and when InitWait was written: two events of
    backend/vsnd/*/0/state."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["xenstore-watch", "/local/domain/0/backend/vsnd"], stdout=subprocess.PIPE, text=True
        )

    def init_wait_sec(self) -> float:
        assert self._process.stdout is not None
        times: list[float] = []
        for line in self._process.stdout:
            if line.strip().endswith("/0/state"):
                times.append(time.monotonic())
            if len(times) == 2:
                break
        self._process.kill()
        self._process.wait()
        return times[1] - times[0]


def run(lab: Lab) -> None:
    RECORD.unlink(missing_ok=True)
    guest = Guest(vsnd=VSND)
    lab.explain_with(guest)
    with Daemon("backend-null", "--output", "null", "--record", str(RECORD)) as backend:
        start_guest(lab, guest, backend)
        play(lab, guest)
        with lab.scenario("backend.ends_at_sigterm") as figures:
            figures.append(f"{backend.stop():.1f} s")
    with Daemon("backend-loopback", "--output", "loopback,delay=40ms", "--allow-microphone"):
        with lab.scenario("kernel.finds_the_next_backend") as figures:
            figures.append(f"Connected after {wait_connected(guest):.1f} s")
        capture(lab, guest)
    with lab.scenario("kernel.guest_halts") as figures:
        figures.append(f"{guest.halt():.1f} s")


def start_guest(lab: Lab, guest: Guest, backend: Daemon) -> None:
    with lab.scenario("backend.init_wait_within_a_second") as figures:
        import threading

        times, seconds = StateTimes(), list[float]()
        thread = threading.Thread(target=lambda: seconds.append(times.init_wait_sec()))
        thread.start()
        guest.start()
        thread.join(5)
        figures.append(f"backend's start {backend.ready_sec:.1f} s")
        figures.append(f"xl create {guest.create_sec:.1f} s")
        figures.append(f"InitWait after {seconds[0] * 1e3:.0f} ms")
        expect(seconds[0] < 1, f"InitWait after {seconds[0]:.1f} s")
    with lab.scenario("kernel.card_appears") as figures:
        guest.must("modprobe snd_xen_front")
        figures.append(f"Connected after {wait_connected(guest):.1f} s")
        listed = guest.must("sleep 1; aplay -l; arecord -l")
        expect(listed.count("device 0: ") == 2, f"the guest has {listed}")


def play_all(lab: Lab, guest: Guest, how: str) -> str:
    """Plays the numbered frames with aplay, and compares what the host was given."""
    started = time.monotonic()
    output = guest.must(f"timeout 60 aplay {RAW} {how} {FRAMES}")
    took = time.monotonic() - started
    expect("underrun" not in output, f"aplay: {output[-200:]}")
    time.sleep(0.3)
    return f"{compare_frames(wav_data(RECORD), lab.frames)}, aplay took {took:.1f} s"


def play(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.play_is_bit_exact") as figures:
        figures.append(play_all(lab, guest, periods(2400, 4)))
    with lab.scenario("kernel.two_periods_a_buffer") as figures:
        figures.append(play_all(lab, guest, periods(4800, 2)))
    with lab.scenario("kernel.odd_period") as figures:
        figures.append(play_all(lab, guest, periods(2003, 5)))
    with lab.scenario("kernel.full_buffer") as figures:
        figures.append(play_all(lab, guest, periods(4096, 4)))
    with lab.scenario("kernel.start_stop_storm") as figures:
        figures.append(guest.must("timeout 90 python3 /run/lab/inside/alsa.py storm 20").strip())
        figures.append(play_all(lab, guest, periods(2400, 4)))
    with lab.scenario("kernel.underrun_loses_nothing") as figures:
        command_line = f"timeout 60 python3 /run/lab/inside/alsa.py gap {FRAMES} 1"
        figures.append(guest.must(command_line).strip())
        half = len(lab.frames) // 8 * 4
        recorded = wav_data(RECORD)
        for part in (lab.frames[:half], lab.frames[half:]):
            at = recorded.find(part)
            expect(at >= 0, compare_halves(recorded, part))
        figures.append(f"2 x {half} octets equal")
    with lab.scenario("kernel.s32_44100") as figures:
        wide = b"".join(b"\x11\x22" + lab.frames[at : at + 2] for at in range(0, 400_000, 2))
        guest.must(
            "python3 -c \"d=open('" + FRAMES + "','rb').read();"
            "open('/tmp/wide.raw','wb').write(b''.join(b'\\x11\\x22'+d[i:i+2]"
            'for i in range(0,400000,2)))"'
        )
        guest.must(
            "timeout 60 aplay -D hw:0,0 -q -t raw -f S32_LE -r 44100 -c 2 "
            f"{periods(2048, 4)} /tmp/wide.raw"
        )
        time.sleep(0.3)
        figures.append(compare_frames(wav_data(RECORD), wide, 8))


def compare_halves(recorded: bytes, part: bytes) -> str:
    try:
        return compare_frames(recorded, part)
    except Exception as error:
        return str(error)


def capture(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.full_duplex_is_bit_exact") as figures:
        output = guest.must(
            f"timeout 60 arecord {RAW} {periods(2400, 4)} -d 6 /tmp/rec.raw 2>/tmp/rec.err & "
            f"sleep 1; timeout 60 aplay {RAW} {periods(2400, 4)} {FRAMES}; wait; "
            "cat /tmp/rec.err; ls -l /tmp/rec.raw"
        )
        figures.append(guest_compare(guest, "/tmp/rec.raw"))
        expect("overrun" not in output, f"arecord: {output[-200:]}")


def guest_compare(guest: Guest, path: str) -> str:
    """compare_frames() in the guest: its files are too large for the console."""
    return guest.must(f"python3 /run/lab/inside/frames.py {path} {FRAMES}").strip()
