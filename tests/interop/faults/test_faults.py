"""What breaks while sound plays, and what a guest must not get: real processes, killed and stopped.

The times waited are bounds for a test that fails, not requirements.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest

from interop.sound import RATE, Recording, eventually, noise, write_noise
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import GUEST_DOMID, SINK, SOURCE, Testbed, card_nodes, find_node

HOST_STREAM = "xenpv.demo-guest.vsnd/0.0/0"


@pytest.fixture
def bed() -> Iterator[Testbed]:
    with Testbed(card_nodes(), frontend_args=["--wait"], backend_args=["--wait"]) as made:
        made.wait_for_node()
        yield made


@contextmanager
def playing(session: PipeWireSession, path: Path, sec: int = 60) -> Iterator[Any]:
    """An application that plays on, whatever happens to its sink."""
    file = path / "long.wav"
    if not file.exists():
        write_noise(file, noise(RATE, 2) * sec, 2)
    player = session.popen(["pw-play", "--target", SINK, str(file)], stderr=DEVNULL)
    yield player
    player.kill()
    player.wait()


def sounds(bed: Testbed) -> bool:
    """Whether the loudspeaker plays something else than silence now."""
    assert bed.loudspeaker is not None
    first = bed.loudspeaker.frames
    time.sleep(0.2)
    return any(bed.loudspeaker.data(first))


def wait_for_sound(bed: Testbed) -> None:
    eventually(lambda: sounds(bed), f"no sound: {bed.log('frontend')[-500:]}")


def wait_for_silence(bed: Testbed) -> None:
    eventually(lambda: not sounds(bed), "there is still sound")


def serial(bed: Testbed) -> Any:
    """Which object the sink is: another one if it was removed and made again."""
    return (bed.node() or {}).get("object.serial")


# -- a half dies


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_sink_outlives_the_backend_and_sound_resumes_by_itself(
    how: signal.Signals, bed: Testbed, tmp_path: Path
) -> None:
    sink = serial(bed)
    assert sink is not None and bed.backend is not None
    with playing(bed.guest, tmp_path) as player:
        wait_for_sound(bed)
        bed.backend.send_signal(how)
        bed.backend.wait()
        wait_for_silence(bed)
        assert serial(bed) == sink
        bed.start_backend()
        wait_for_sound(bed)
        assert player.poll() is None
    assert serial(bed) == sink
    assert "Traceback" not in bed.log("frontend") + bed.log("backend")


def test_frontend_that_was_killed_plays_again_when_it_is_back(bed: Testbed, tmp_path: Path) -> None:
    assert bed.frontend is not None
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)
        bed.frontend.kill()
        bed.frontend.wait()
        eventually(lambda: bed.node() is None, "the sink of a dead frontend is still there")
        bed.start_frontend()
        bed.wait_for_node()
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)
    assert "Traceback" not in bed.log("frontend") + bed.log("backend")


def test_both_halves_killed_at_once_find_each_other_again(bed: Testbed, tmp_path: Path) -> None:
    assert bed.frontend is not None and bed.backend is not None
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)
        for process in (bed.frontend, bed.backend):
            process.kill()
            process.wait()
    bed.start_frontend()
    bed.start_backend()
    bed.wait_for_node()
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)


def test_backend_plays_on_when_the_hosts_pipewire_is_back(bed: Testbed, tmp_path: Path) -> None:
    sink = serial(bed)
    assert bed.host is not None and bed.backend is not None
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)
        restart(bed.host)
        wait_for_sound(bed)
        assert bed.backend.poll() is None
    assert serial(bed) == sink
    assert "PipeWire is gone" in bed.log("backend")
    assert "PipeWire is there" in bed.log("backend").rpartition("PipeWire is gone")[2]
    assert "Traceback" not in bed.log("frontend") + bed.log("backend")


def test_frontend_offers_its_sink_to_the_guests_next_pipewire(bed: Testbed, tmp_path: Path) -> None:
    assert bed.frontend is not None
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)
        restart(bed.guest)
    bed.wait_for_node()
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)
    assert bed.frontend.poll() is None
    assert "Traceback" not in bed.log("frontend") + bed.log("backend")


def restart(session: PipeWireSession) -> None:
    """Kills the session's PipeWire, and starts the same programs in the same place again."""
    programs = ("pipewire", "wireplumber", "pipewire-pulse")
    for program in reversed(programs):
        os.kill(session.pids()[program], signal.SIGKILL)
    time.sleep(1)
    for program in programs:
        session.popen([program], stdout=DEVNULL, stderr=DEVNULL)
        time.sleep(0.3)


# -- the toolstack changes things


def test_card_can_be_unplugged_while_it_plays_and_plugged_again(
    bed: Testbed, tmp_path: Path
) -> None:
    assert bed.toolstack is not None and bed.host is not None
    host = bed.host
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)
        bed.toolstack.detach_vsnd(GUEST_DOMID, 0)  # raises if the backend does not close in time
        eventually(lambda: bed.node() is None, "the sink is still there")
        eventually(lambda: find_node(host, HOST_STREAM) is None, "the host's stream is there")
        eventually(lambda: bed.hypervisor.report() == [], "grants or ports were kept")
        bed.toolstack.attach_vsnd(GUEST_DOMID, 0, bed.nodes)
        bed.wait_for_node()
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)
    assert "Traceback" not in bed.log("frontend") + bed.log("backend")


@pytest.mark.parametrize("detach", [True, False], ids=["destroyed", "crashed"])
def test_domain_that_ends_while_it_plays_leaves_nothing_and_disturbs_nobody(
    detach: bool, bed: Testbed, tmp_path: Path
) -> None:
    assert bed.toolstack is not None and bed.host is not None and bed.backend is not None
    host = bed.host
    other = bed.add_guest(2, "other", card_nodes())
    eventually(lambda: find_node(other.session, SINK), "no sink in the other guest")
    with playing(other.session, tmp_path), playing(bed.guest, tmp_path):
        wait_for_sound(bed)
        eventually(lambda: find_node(host, HOST_STREAM), "no stream for the guest")
        assert bed.frontend is not None
        if not detach:
            bed.frontend.kill()
            bed.frontend.wait()
        bed.toolstack.destroy_domain(GUEST_DOMID, detach=detach)
        eventually(lambda: find_node(host, HOST_STREAM) is None, "the host's stream is there")
        wait_for_sound(bed)
        assert find_node(host, "xenpv.other.vsnd/0.0/0") is not None
        assert not [line for line in bed.hypervisor.report() if "domain 1" in line.lower()]
        assert bed.backend.poll() is None


# -- what a guest may have


def host_stream(host: PipeWireSession, name: str) -> dict[str, Any]:
    found: dict[str, Any] = eventually(lambda: find_node(host, name), f"no {name}")
    return found


def test_without_leave_a_guest_records_silence_and_the_log_says_how_to_give_it(
    tmp_path: Path,
) -> None:
    microphone = "xenpv.demo-guest.vsnd/0.0/1"
    with Testbed(card_nodes(), backend_args=[]) as bed:
        assert bed.host is not None
        bed.wait_for_node(SOURCE)
        recording = Recording(bed.guest, SOURCE, tmp_path / "r.wav")
        state = lambda: (bed.node(SOURCE) or {}).get("xenpv.state")  # noqa: E731
        eventually(lambda: state() == "running", "the source does not run")
        time.sleep(0.7)
        assert find_node(bed.host, microphone) is None  # the host's microphone is not even opened
        samples = recording.stop()
        assert len(samples) > RATE // 2
        assert not any(samples)
        log = bed.log("backend")
    (line,) = [line for line in log.splitlines() if "microphone" in line]
    assert "domain 1 (demo-guest) vsnd/0/0/1" in line
    assert "microphone = true in [domain.demo-guest]" in line


POLICY = """
[default]
targets = []
roles = []

[domain.trusted]
targets = ["recording-loudspeaker"]
roles = ["music"]
"""


def test_target_and_role_of_a_unique_id_count_only_where_policy_allows_them(
    tmp_path: Path,
) -> None:
    policy = tmp_path / "backend.toml"
    policy.write_text(POLICY)
    nodes = card_nodes(capture=False)
    nodes["0/0/unique-id"] = "pulse<recording-loudspeaker>media.role:music"
    with Testbed(nodes, backend_args=["--policy", str(policy)]) as bed:
        assert bed.host is not None
        trusted = bed.add_guest(2, "trusted", nodes)
        eventually(lambda: find_node(trusted.session, SINK), "no sink in the trusted guest")
        bed.wait_for_node()
        with playing(bed.guest, tmp_path), playing(trusted.session, tmp_path):
            plain = host_stream(bed.host, HOST_STREAM)
            chosen = host_stream(bed.host, "xenpv.trusted.vsnd/0.0/0")
    assert plain["application.name"] == "demo-guest"
    assert chosen["application.name"] == "trusted"
    assert "target.object" not in plain and "media.role" not in plain
    assert chosen["target.object"] == "recording-loudspeaker"
    assert chosen["media.role"] == "music"


# -- a guest that breaks the rules

GARBAGE = {
    "ring reference": ({"0/0/ring-ref": "banana"}, "0/0/ring-ref", "banana"),
    "negative port": ({"0/0/event-channel": "-1"}, "0/0/event-channel", "-1"),
    "huge reference": ({"0/0/evt-ring-ref": "9" * 30}, "0/0/evt-ring-ref", "999"),
    "format": ({"sample-formats": "s16_le,mp3"}, "sample-formats", "mp3"),
    "channels": ({"channels-min": "6", "channels-max": "2"}, "channels-min", "6"),
    "rate": ({"sample-rates": "fast"}, "sample-rates", "fast"),
    "direction": ({"0/0/type": "x"}, "0/0/type", "x"),
    "name": ({"0/0/unique-id": "a\nb"}, "0/0/unique-id", "control"),
    "version": ({"version": "99"}, "version", "99"),
}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """A well-behaved guest that plays, and a domain that has only its XenStore to write in."""
    path = tmp_path_factory.mktemp("crowd")
    with Testbed(card_nodes(capture=False)) as made:
        assert made.toolstack is not None
        made.wait_for_node()
        made.toolstack.create_domain(66, "mallory")
        with playing(made.guest, path, 120):
            wait_for_sound(made)
            yield made


def attack(bed: Testbed, devid: int, nodes: dict[str, str], state: str = "3") -> str:
    """Publishes `nodes` as a frontend would; what the backend said about it."""
    toolstack = bed.toolstack
    assert toolstack is not None
    front = f"/local/domain/66/device/vsnd/{devid}"
    back = f"/local/domain/0/backend/vsnd/66/{devid}"
    transport = {
        "ring-ref": "8",
        "event-channel": "1",
        "evt-ring-ref": "9",
        "evt-event-channel": "2",
    }
    before = len(bed.log("backend"))
    toolstack.attach_vsnd(66, devid, card_nodes(capture=False))
    eventually(lambda: toolstack.store.get(f"{back}/state") == "2", "not offered")
    published = {f"0/0/{key}": text for key, text in transport.items()} | nodes
    for key, text in published.items():
        toolstack.store.write(f"{front}/{key}", text)
    toolstack.store.write(f"{front}/state", state)

    def said() -> str:
        lines = bed.log("backend")[before:].splitlines()
        return "\n".join(line for line in lines if "mallory" in line and "found" not in line)

    eventually(said, "the backend says nothing")
    time.sleep(0.3)
    words = said()
    toolstack.detach_vsnd(66, devid, force=True)
    return words


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_of_one_guest_is_named_and_the_others_play_on(kind: str, crowd: Testbed) -> None:
    nodes, node, text = GARBAGE[kind]
    words = attack(crowd, list(GARBAGE).index(kind), dict(nodes))
    assert "domain 66 (mallory)" in words
    assert node in words, words
    assert text in words, words
    assert "Traceback" not in crowd.log("backend")
    wait_for_sound(crowd)
    assert crowd.backend is not None and crowd.backend.poll() is None


def test_stale_references_of_one_guest_are_named_and_the_others_play_on(crowd: Testbed) -> None:
    before = crowd.hypervisor.report()
    words = attack(crowd, 20, {})
    assert "domain 66 (mallory)" in words
    assert "0/0/ring-ref = 8" in words, words
    assert "Traceback" not in crowd.log("backend")
    assert crowd.hypervisor.report() == before
    wait_for_sound(crowd)


def test_a_card_that_stays_wrong_is_complained_about_once(tmp_path: Path) -> None:
    with Testbed({**card_nodes(), "sample-formats": "mp3"}, frontend_args=["--wait"]) as made:

        def complaints() -> int:
            return made.log("frontend").count('unknown sample format "mp3"')

        eventually(complaints, "the frontend says nothing")
        time.sleep(2.5)  # it looks again every second
        assert complaints() == 1
        assert made.frontend is not None and made.frontend.poll() is None
        assert made.toolstack is not None
        made.toolstack.store.write("/local/domain/1/device/vsnd/0/sample-formats", "s16_le")
        made.wait_for_node()


def test_state_that_is_none_costs_the_guest_its_device_only(crowd: Testbed) -> None:
    words = attack(crowd, 21, {}, "77")
    assert "77" in words
    assert "Traceback" not in crowd.log("backend")
    wait_for_sound(crowd)
