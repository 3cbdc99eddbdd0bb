"""What a guest plays comes back by the host's loopback: recorded in the guest, and compared."""

from __future__ import annotations

from guest import Guest, GuestError

FRAMES = "/run/lab/job/frames.wav"
SINK, SOURCE = "xenpv_sink.0.0.0", "xenpv_source.0.0.1"
COMPARE = f"python3 /run/lab/inside/frames.py /tmp/rec.wav {FRAMES}"


def round_trip(guest: Guest, session: str, as_user: str = "", attempts: int = 1) -> str:
    """The figure, or GuestError. `session`: what a shell needs to reach the guest's PipeWire.

    A guest that is late may lose what its microphone heard; `attempts` allows for that. But nothing
    may ever come changed, twice, or out of order.
    """
    for attempt in range(1, attempts + 1):
        guest.must(
            f"{session} {as_user} timeout -s INT 9 pw-record --target {SOURCE} --format s16 "
            "--rate 48000 --channels 2 /tmp/rec.wav & sleep 3;"
            f"{session} {as_user} timeout 60 pw-play --target {SINK} {FRAMES}; wait",
            120,
        )
        found = guest.run(COMPARE)
        print(f"  attempt {attempt}: {found.output}", flush=True)
        if found.status == 0:
            return f"{found.output.strip()} at attempt {attempt}"
        guest.must(f"{COMPARE} order")
    raise GuestError(found.output[:300])
