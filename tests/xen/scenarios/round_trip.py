"""What a guest plays comes back by the host's loopback: recorded in the guest, and compared."""

from __future__ import annotations

from guest import Guest, GuestError

FRAMES = "/run/lab/job/frames.wav"
SINK, SOURCE = "xenpv_sink.0.0.0", "xenpv_source.0.0.1"
COMPARE = f"python3 /run/lab/inside/frames.py /tmp/rec.wav {FRAMES}"
# From before the sound to a second after it, by the microphone's own time (S16 stereo, 48 kHz).
RECORDED = """
{session}
rm -f /tmp/rec.wav
{as_user} timeout 110 pw-record {target} --format s16 --rate 48000 --channels 2 /tmp/rec.wav &
grown() {{
    for i in $(seq 300); do
        [ "$(stat -c %s /tmp/rec.wav 2> /dev/null || echo 0)" -ge $1 ] && break
        sleep 0.1
    done
}}
grown 20000
{as_user} timeout 110 pw-play {to} {file}; status=$?
grown $(($(stat -c %s /tmp/rec.wav) + 192000))
pw-link -l > /tmp/links
pkill -INT -x pw-record; wait
exit $status
"""


def record(guest: Guest, session: str, as_user: str = "", source: str = "", sink: str = "") -> None:
    """Records in the guest, while it plays, into /tmp/rec.wav; without nodes the default ones."""
    guest.must(
        RECORDED.format(
            session=session,
            as_user=as_user,
            target=f"--target {source}" if source else "",
            to=f"--target {sink}" if sink else "",
            file=FRAMES,
        )
    )


def round_trip(guest: Guest, session: str, as_user: str = "", attempts: int = 1) -> str:
    """The figure, or GuestError. `session`: what a shell needs to reach the guest's PipeWire.

    A guest that is late may lose what its microphone heard; `attempts` allows for that. But nothing
    may ever come changed, twice, or out of order.
    """
    for attempt in range(1, attempts + 1):
        record(guest, session, as_user, SOURCE, SINK)
        found = guest.run(COMPARE)
        print(f"  attempt {attempt}: {found.output}", flush=True)
        if found.status == 0:
            return f"{found.output.strip()} at attempt {attempt}"
        ordered = guest.run(f"{COMPARE} order")
        if ordered.status:  # one channel alone is a link that the session manager did not make
            links = guest.run("cat /tmp/links").output
            raise GuestError(f"{ordered.output[:300]}; the recorder's links: {links}")
    raise GuestError(found.output[:300])
