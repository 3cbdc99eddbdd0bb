"""The backend in a guest of its own instead of dom0 (backend-id is not 0), as DomD in cars has it.

xl knows it: `backend=NAME` in the CARD part of a vsnd specification. dom0 has no part in the sound:
backend and player are both guests, and the comparison is made in the driver domain. Its client has
the kernel's frontend first, and then ours.
"""

from __future__ import annotations

from cards import wait_card, wait_connected
from dom0 import OUT, Lab, expect, store_read, wait_until
from guest import Guest
from our_front import SESSION, SINK, nodes
from parts import RATE, RAW, Part, kernel_card, vsnd
from two_guests import FRONTEND, start_ours

PART = Part(72000, 4)
RECORD = "/tmp/played.wav"
# A driver domain may not read the names of other guests: what they may have is said for all.
BACKEND = (
    "printf '[unnamed]\\n' > /tmp/policy.toml;"
    "setsid xen-pv-audio backend -v --policy /tmp/policy.toml --output null"
    f" --record {RECORD} > /tmp/backend.log 2>&1"
    " < /dev/null & echo $! > /tmp/backend.pid;"
    "for i in $(seq 500); do grep -q 'is ready' /tmp/backend.log && exit; sleep 0.2; done; exit 1"
)
# The header has the length once the stream is closed.
COMPARE = (
    f"for i in $(seq 300); do [ $(od -An -tu4 -j40 -N4 {RECORD}) -gt 0 ] && break; sleep 0.2; done;"
    f"python3 /run/lab/inside/frames.py {RECORD} /tmp/part.raw; tail -3 /tmp/backend.log"
)


IN_ORDER = COMPARE.replace("/tmp/part.raw;", "/tmp/part.raw order;")
# pw-play loses what its last quantum does not fill: it may have the silence.
PADDED = f"""
import wave
file = wave.open("/tmp/part.wav", "wb")
file.setparams((2, 2, {RATE}, 0, "NONE", ""))
file.writeframes(open("/tmp/part.raw", "rb").read() + bytes(4 * {RATE}))
"""
PW_PLAY = f"{SESSION} timeout 110 pw-play --target {SINK} /tmp/part.wav"


def run(lab: Lab) -> None:
    driver = Guest("driver", vsnd="driver_domain = 1")
    client = Guest("client", vsnd=vsnd(more=", backend=driver"), index=1)
    lab.explain_with(driver)
    with driver:
        try:
            with lab.scenario("driver.backend_starts_in_a_guest") as figures:
                driver.must(BACKEND)
                PART.make(driver)
                figures.append(driver.must("grep 'is ready' /tmp/backend.log").strip())
            serve(lab, driver, client)
        finally:
            (OUT / "backend-driver.log").write_text(driver.run("cat /tmp/backend.log").output)


def serve(lab: Lab, driver: Guest, client: Guest) -> None:
    def log() -> str:
        return driver.must("cat /tmp/backend.log")

    with lab.scenario("driver.guest_gets_its_card_from_there") as figures:
        client.start()
        figures.append(f"xl create {client.create_sec:.1f} s")
        kernel_card(client)
        wait_connected(client)
        identity = store_read(f"/local/domain/{client.domid}/device/vsnd/0/backend-id")
        expect(identity == str(driver.domid), f"backend-id is {identity}")
        figures.append(f"backend-id {identity}")
    with lab.scenario("driver.kernel_guest_plays_bit_exact") as figures:
        PART.make(client)
        output = client.must(f"timeout 110 aplay {RAW} /tmp/part.raw")
        expect("underrun" not in output, output[-200:])
        figures.append(compared(driver))
    with lab.scenario("driver.backend_killed_and_restarted") as figures:
        driver.must("kill -9 $(cat /tmp/backend.pid)")
        driver.must(f"sleep 1; {BACKEND}")
        figures.append(f"Connected {wait_card(client, log):.1f} s later")
        client.must(f"timeout 110 aplay {RAW} /tmp/part.raw")
        figures.append(compared(driver))
    ours(lab, driver, client)
    with lab.scenario("driver.client_destroyed") as figures:
        took = client.destroy()
        # libxl gives up waiting for a backend's directory to go after 10 s.
        expect(took < 9, f"xl destroy {took:.1f} s")
        figures.append(f"xl destroy {took:.1f} s")
        gone = "for i in $(seq 500); do grep -q ': gone' /tmp/backend.log && exit; sleep 0.2; done"
        driver.must(f"{gone}; exit 1")
        expect("Traceback" not in log(), "a traceback")


def ours(lab: Lab, driver: Guest, client: Guest) -> None:
    """Our frontend instead of the kernel's, in the same guest and with the same card."""
    with lab.scenario("driver.our_frontend_plays_bit_exact") as figures:
        client.must("echo vsnd-0 > /sys/bus/xen/drivers/vsnd/unbind; sleep 2; rmmod snd_xen_front")
        start_ours(client)
        client.must(f"python3 - <<'END'\n{PADDED}END")
        client.must(PW_PLAY)
        figures.append(in_order(driver))
    with lab.scenario("driver.our_frontend_outlives_a_backend") as figures:
        driver.must("kill -9 $(cat /tmp/backend.pid)")
        driver.must(f"sleep 1; {BACKEND}")
        took = wait_connected(client, lambda: driver.must("cat /tmp/backend.log"))
        wait_until(lambda: SINK in nodes(client), "the sink")
        figures.append(f"Connected {took:.1f} s later")
        client.must(PW_PLAY)
        figures.append(in_order(driver))
    with lab.scenario("driver.our_frontend_killed_and_restarted") as figures:
        client.must("kill -9 $(cat /tmp/frontend.pid); sleep 1")
        client.must(f"{SESSION} {FRONTEND}")
        wait_connected(client)
        wait_until(lambda: SINK in nodes(client), "the sink")
        client.must(PW_PLAY)
        figures.append(in_order(driver))


def in_order(driver: Guest) -> str:
    """Every frame of the part, once, in order; silence may stand between, as a slow machine
    inserts it."""
    done = driver.run(IN_ORDER)
    lost, silent = map(int, done.output.splitlines()[0].split())
    expect(lost == 0, f"{lost} frames lost: {done.output[-400:]}")
    return f"{PART.count} frames in order, the longest silence {silent} frames"


def compared(driver: Guest) -> str:
    done = driver.run(COMPARE)
    first = done.output.splitlines()[0]
    expect(first.endswith("bytes equal"), done.output[-400:])
    return first
