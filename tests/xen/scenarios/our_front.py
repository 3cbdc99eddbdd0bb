"""Our frontend with PipeWire in a guest, our backend in dom0: the whole product."""

from __future__ import annotations

import re
import time

from cards import frontend_state, wait_connected
from dom0 import (
    OUT,
    Daemon,
    Lab,
    ScenarioError,
    compare_frames,
    expect,
    heard_until,
    wait_until,
)
from guest import Guest
from players import EndlessPipeWire
from round_trip import FRAMES, SINK, SOURCE, round_trip

VSND = """vsnd = [ [ 'CARD, short-name=XenLab, long-name=Xen lab card, sample-rates=48000, \
sample-formats=s16_le;s32_le, channels-max=2, buffer-size=262144', 'PCM, name=Lab PCM',
    'STREAM, unique-id=play0, type=p', 'STREAM, unique-id=cap0, type=c' ] ]"""
RECORD = OUT / "our-play.wav"

SESSION = "export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus;"
# The emulator is slow and stops now and then: few and long cycles, and a lead of 340 ms, hide it.
# Order is tested here.
QUANTUM_FRAMES, LEAD_FRAMES = 4096, 16384
PW_PLAY = f"{SESSION} timeout 230 pw-play --target {SINK}"
FRONTEND = (
    f"setsid xen-pv-audio frontend -v --quantum-frames {QUANTUM_FRAMES} --period-frames 2048 "
    f"--lead-frames {LEAD_FRAMES} --buffer-frames {2 * LEAD_FRAMES} "
    ">> $OUT/frontend.log 2>&1 < /dev/null & echo $! > /tmp/frontend.pid;"
)


def run(lab: Lab) -> None:
    # Packaging keeps the kernel's driver away from our frontend in the same way.
    guest = Guest(vsnd=VSND)
    arguments = ("--output", "loopback,delay=40ms", "--allow-microphone", "--record", str(RECORD))
    with Daemon("backend-ours", *arguments) as backend:
        guest.start()
        try:
            start_frontend(lab, guest)
            sound(lab, guest)
            life(lab, guest, backend, arguments)
        finally:
            keep_logs(guest)
        with lab.scenario("ours.guest_halts") as figures:
            figures.append(f"{guest.halt():.1f} s")


def keep_logs(guest: Guest) -> None:
    logs = guest.run(
        "tail -c 60000 $OUT/frontend.log; cat $OUT/pw-*.log; dmesg | tail; "
        "ps ax -o pid,stat,pcpu,time,args --sort=-time | head -20; grep ^cpu /proc/stat"
    )
    (OUT / "guest-logs").write_text(logs.output)


def start_frontend(lab: Lab, guest: Guest) -> None:
    with lab.scenario("ours.sink_and_source_appear") as figures:
        figures += started_frontend(guest)


def started_frontend(guest: Guest) -> list[str]:
    """A session with our frontend in it; what there is to tell."""
    guest.must(
        "echo 'blacklist snd_xen_front' > /etc/modprobe.d/xen-pv-audio.conf;"
        ". /run/lab/inside/pw-start > /dev/null;"
        "for i in $(seq 120); do wpctl status && break; sleep 0.5; done;"
        f"pw-metadata -n settings 0 clock.force-quantum {QUANTUM_FRAMES}"
    )
    figures = [at_rest(guest)]
    started = time.monotonic()
    guest.must(f"{SESSION} {FRONTEND}")
    wait_connected(guest)
    figures.append(f"Connected after {time.monotonic() - started:.1f} s")
    wait_until(lambda: SOURCE in nodes(guest) and SINK in nodes(guest), "nodes")
    return [*figures, f"nodes after {time.monotonic() - started:.1f} s"]


def at_rest(guest: Guest) -> str:
    """Waits for the session's own start to be over; a machine that has no rest is no failure."""
    try:
        return f"a session at rest after {wait_until(guest.idle, 'rest', 60):.0f} s"
    except ScenarioError:
        print(guest.must("ps ax -o pcpu,time,args --sort=-time | head; grep '^cpu ' /proc/stat"))
        return "a session that finds no rest"


def nodes(guest: Guest) -> str:
    return guest.run(f"{SESSION} pw-cli ls Node | grep node.name").output


def play(lab: Lab, guest: Guest) -> str:
    started = time.monotonic()
    output = guest.must(f"{SESSION} timeout 110 pw-play --target {SINK} {FRAMES} 2>&1")
    took = time.monotonic() - started
    # The recording ends with the stream: it is suspended 5 s after the last sound.
    recorded = heard_until(RECORD, lab.frames[-32:])
    figure = compare_frames(recorded, lab.frames, silence_between=True)
    return f"{figure}, pw-play took {took:.1f} s {output.strip()}"


def sound(lab: Lab, guest: Guest) -> None:
    with lab.scenario("ours.play_is_bit_exact") as figures:
        figures.append(play(lab, guest))
    with lab.scenario("ours.capture_is_bit_exact") as figures:
        figures.append(round_trip(guest, SESSION, attempts=3))
    with lab.scenario("ours.latency_is_published") as figures:
        player = EndlessPipeWire(guest, PW_PLAY, 48000, "/run/lab/job/frames.raw")
        shown = ""

        def told() -> bool:
            nonlocal shown
            shown = guest.must(f"{SESSION} python3 /run/lab/inside/told.py {SINK}")
            return shown.count("told") == 4 and "told 0 ns" not in shown

        try:
            wait_until(told, "a latency at both ports")
        finally:
            player.stop()
        figures.append(published_latency(shown))


def published_latency(shown: str) -> str:
    """What clients are told is what the frontend keeps written ahead of what is heard."""
    told_ms = [int(number) / 1e6 for number in re.findall(r"told (\d+) ns", shown)]
    kept = re.search(r"kept ([0-9.]+) ms", shown)
    expect(kept is not None, f"no xenpv.delay-ms: {shown}")
    assert kept is not None
    kept_ms = float(kept[1])
    expect(kept_ms > (LEAD_FRAMES - 1) / 48, f"{kept_ms} ms are less than the lead")
    expect(len(told_ms) == 4, f"two ports tell two numbers each: {shown}")
    # 1 ns more than the frames, because readers cut off; the property has three digits
    wrong = [told for told in told_ms if abs(told - kept_ms) >= 1 / 48]
    expect(not wrong, f"told {wrong} ms, kept {kept_ms} ms")
    return f"told {max(told_ms):.3f} ms at both ports, kept {kept_ms:.3f} ms"


def life(lab: Lab, guest: Guest, backend: Daemon, arguments: tuple[str, ...]) -> None:
    with lab.scenario("ours.frontend_killed_and_restarted") as figures:
        guest.must("kill -9 $(cat /tmp/frontend.pid)")
        time.sleep(1)
        figures.append(f"a second after kill -9 its state is {frontend_state(guest)}")
        started = time.monotonic()
        guest.must(f"{SESSION} {FRONTEND}")
        wait_until(lambda: "ATTACH" in log_tail(guest) or SINK in nodes(guest), "the sink again")
        figures.append(f"sink again after {time.monotonic() - started:.1f} s")
        figures.append(play(lab, guest))
    with lab.scenario("ours.backend_killed_and_restarted") as figures:
        backend.kill()
        with Daemon("backend-ours-2", *arguments) as second:
            figures.append(f"Connected after {wait_connected(guest, second.log):.1f} s")
            figures.append(play(lab, guest))
            with lab.scenario("ours.frontend_ends_at_sigterm") as ended:
                started = time.monotonic()
                guest.must(
                    "kill $(cat /tmp/frontend.pid); while kill -0 $(cat /tmp/frontend.pid)"
                    " 2>/dev/null; do sleep 0.1; done"
                )
                ended.append(f"{time.monotonic() - started:.1f} s, state {frontend_state(guest)}")


def log_tail(guest: Guest) -> str:
    return guest.run("tail -5 $OUT/frontend.log").output
