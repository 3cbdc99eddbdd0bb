"""The files in packaging/ against the program they are for: rules, examples, the manual."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import tomllib
import xml.dom.minidom
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from xenpvaudio.config import POLICY_KEYS, ROLES, DomainPolicy, load_policy
from xenpvaudio.sndif import packets, volume_ext
from xenpvaudio.sndif.card import Card, parse_card, parse_unique_id
from xenpvaudio.sndif.codes import (
    ALIVE_BYTE,
    FEATURE_LIVENESS_EXT,
    FEATURE_POSITION_EXT,
    FEATURE_VOLUME_EXT,
    UNAVAILABLE_STREAMS,
    Direction,
)
from xenpvaudio.toolstack.specification import parse_specification
from xenpvaudio_native.header import offset

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
XL_FILES = sorted((PACKAGING / "xl").glob("*.cfg"))


# -- udev, modules


def lines_of(path: Path) -> list[str]:
    """What is not empty and no comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_udev_rules_open_each_device_to_the_group_and_to_nobody_else() -> None:
    clause = re.compile(r'([A-Z]+)(==|=)"([^"]*)"')
    opened = set()
    for line in lines_of(PACKAGING / "udev" / "70-xen-pv-audio.rules"):
        parts = [clause.fullmatch(part.strip()) for part in line.split(",")]
        assert all(parts), line
        rule = {part[1] + part[2]: part[3] for part in parts if part}
        assert rule.pop("KERNEL==").startswith("xen/")
        assert rule == {"SUBSYSTEM==": "misc", "GROUP=": "xen-audio", "MODE=": "0660"}
        opened.add(line.partition('KERNEL=="')[2].partition('"')[0])
    assert opened == {"xen/evtchn", "xen/gntalloc", "xen/gntdev", "xen/xenbus"}


def test_modules_load_file_lists_modules_only() -> None:
    modules = lines_of(PACKAGING / "modules-load.d" / "xen-pv-audio.conf")
    assert modules == ["xen-evtchn", "xen-gntalloc", "xen-gntdev", "xenfs"]


def test_modprobe_file_keeps_the_kernels_frontend_out() -> None:
    lines = lines_of(PACKAGING / "modprobe.d" / "xen-pv-audio.conf")
    known = re.compile(r"blacklist \w+|options \w+( \w+=\S+)+")
    assert all(known.fullmatch(line) for line in lines), lines
    assert "blacklist snd_xen_front" in lines


# -- PipeWire


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} does not appear"
        time.sleep(0.02)


def min_quantum_in_a_vm(folder: Path, drop_in: Path | None) -> int:
    """What a PipeWire daemon that takes itself to be in a virtual machine makes of its files."""
    runtime, config = folder / "run", folder / "config"
    runtime.mkdir(mode=0o700, parents=True)
    drop_ins = config / "pipewire" / "pipewire.conf.d"
    drop_ins.mkdir(parents=True)
    if drop_in is not None:
        shutil.copy(drop_in, drop_ins)
    env = {
        key: text for key, text in os.environ.items() if not key.startswith(("PIPEWIRE", "DBUS"))
    }
    env |= {"XDG_RUNTIME_DIR": str(runtime), "XDG_CONFIG_HOME": str(config), "PIPEWIRE_VM": "4"}
    with subprocess.Popen(["pipewire"], env=env, stderr=subprocess.DEVNULL) as daemon:
        try:
            wait_for(runtime / "pipewire-0")
            info = subprocess.run(
                ["pw-cli", "info", "0"], env=env, capture_output=True, text=True, timeout=20
            ).stdout
        finally:
            daemon.terminate()
    found = re.search(r'default\.clock\.min-quantum = "(\d+)"', info)
    assert found, info
    return int(found[1])


def test_drop_in_lowers_the_quantum_that_pipewire_demands_in_a_virtual_machine(
    tmp_path: Path,
) -> None:
    drop_in = PACKAGING / "pipewire" / "pipewire.conf.d" / "50-xen-pv-audio.conf"
    assert min_quantum_in_a_vm(tmp_path / "plain", None) == 1024
    assert min_quantum_in_a_vm(tmp_path / "ours", drop_in) == 256


@pytest.mark.parametrize(
    ("file", "section", "key"),
    [
        ("pipewire.conf.d", "context.properties", "default.clock.min-quantum = 256"),
        ("pipewire-pulse.conf.d", "pulse.properties", "pulse.min.quantum = 256/48000"),
    ],
)
def test_drop_in_has_the_form_of_old_and_of_new_versions(file: str, section: str, key: str) -> None:
    text = "\n".join(lines_of(PACKAGING / "pipewire" / file / "50-xen-pv-audio.conf"))
    flat = " ".join(text.split())
    assert f"{section} = {{ vm.overrides = {{ {key} }} }}" in flat
    match = "matches = [ { cpu.vm.name = !null } ]"
    actions = f"actions = {{ update-props = {{ {key} }} }}"
    assert f"{section}.rules = [ {{ {match} {actions} }} ]" in flat


# -- xl


def xl_cards(path: Path) -> Iterator[Card]:
    """As they are in XenStore; tests/interop/store/test_xl.py has xl's word on it."""
    for spec in parse_specification(path.read_text(encoding="utf-8"), path.name):
        yield parse_card(spec.nodes)


def test_there_is_an_example_for_each_use() -> None:
    assert [path.stem for path in XL_FILES] == ["automotive", "desktop", "surround"]


@pytest.mark.parametrize("path", XL_FILES, ids=lambda path: path.stem)
def test_xl_example_is_a_card_that_the_policy_example_serves_in_full(path: Path) -> None:
    name = tomllib.loads(path.read_text(encoding="utf-8"))["name"]  # in these files that is TOML
    assert isinstance(name, str)
    policy = load_policy(PACKAGING / "policy" / "backend.toml").of(name)
    for card in xl_cards(path):
        streams = list(card.streams)
        assert 0 < len(streams) <= policy.max_streams
        for stream in streams:
            asked = parse_unique_id(stream.unique_id)
            assert stream.buffer_bytes <= policy.max_buffer_bytes
            assert not asked.device or policy.allows_target(asked.device)
            assert not asked.prop_name or policy.allows_role(asked.prop_value)
            assert stream.direction is Direction.PLAYBACK or policy.microphone


def test_desktop_example_has_loudspeakers_and_a_microphone() -> None:
    (card,) = xl_cards(PACKAGING / "xl" / "desktop.cfg")
    assert [stream.direction.value for stream in card.streams] == ["p", "c"]
    assert all((s.channels.min, s.channels.max) == (1, 2) for s in card.streams)


def test_automotive_example_asks_for_roles() -> None:
    (card,) = xl_cards(PACKAGING / "xl" / "automotive.cfg")
    asked = [parse_unique_id(stream.unique_id) for stream in card.streams]
    assert [request.prop_value for request in asked] == ["music", "navi", "phone", ""]
    assert {request.prop_name for request in asked if request.device} == {"media.role"}


def test_surround_example_has_eight_channels() -> None:
    (card,) = xl_cards(PACKAGING / "xl" / "surround.cfg")
    (stream,) = card.streams
    assert stream.channels.max == 8
    assert 96000 in stream.rates


# -- the policy


def test_policy_example_names_every_key_with_its_default() -> None:
    path = PACKAGING / "policy" / "backend.toml"
    policy = load_policy(path)
    assert policy.default == DomainPolicy()
    default_table = path.read_text(encoding="utf-8").partition("[domain.")[0]
    for spec in (spec for spec in fields(DomainPolicy) if spec.name in POLICY_KEYS.values()):
        assert re.search(rf"^{spec.name.replace('_', '-')} = ", default_table, re.MULTILINE)
    assert policy.of("desktop").microphone
    assert not policy.of("another").microphone


# -- WirePlumber


def groups_of_roles(path: Path) -> dict[str, set[str]]:
    """The words for which each of a host's role sinks is, by its name."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".lua":
        found = re.findall(r'\["Playback-(\w+)"\] = \{\s+\["alias"\] = \{([^}]*)\}', text)
    else:
        sink = r'node\.description = "(\w+)"\s+capture\.props = \{\s+'
        found = re.findall(sink + r"device\.intended-roles = \[([^]]*)\]", text)
    return {name: set(re.findall(r"[\w-]+", words)) for name, words in found}


def test_both_wireplumbers_mix_by_the_same_roles_and_by_all_of_the_policy_example() -> None:
    old, new = map(groups_of_roles, sorted((PACKAGING / "wireplumber").rglob("*roles.*")))
    assert old == new
    assert list(old) == [
        "Multimedia", "Notification", "Navigation", "Communication", "Emergency"
    ]  # fmt: skip
    words = [word for group in old.values() for word in group]
    assert len(words) == len(set(words))
    assert set(words) <= set(ROLES)
    assert set(load_policy(PACKAGING / "policy" / "backend.toml").of("ivi").roles) <= set(words)


# -- documents


def test_position_extension_is_described_where_it_is() -> None:
    text = (PACKAGING / "doc" / "position-extension.md").read_text(encoding="utf-8")
    assert f'{FEATURE_POSITION_EXT} = "1"' in text
    place = packets._POSITION_EXT_PLACE
    rows = re.findall(r"^ \* \| +(\w+) +\| (\d+)$", text, re.MULTILINE)
    times = ("time_nsec_low", "time_nsec_high")
    fields = ("host_frames", "host_frames_max", "age_nsec", *times, "flags")
    ends = {name: int(end) for name, end in rows if name in fields}
    assert ends == {name: place + 4 * (n + 1) for n, name in enumerate(fields)}
    assert place + packets._POSITION_EXT.size == 40
    page = re.findall(r"^ \* \| +(polled|filled) +\| (\d+)$", text, re.MULTILINE)
    free = offset("xensnd_event_page", "reserved")
    assert {name: int(end) - 4 - free for name, end in page} == {"polled": 4, "filled": 8}


def test_liveness_extension_is_described_where_it_is() -> None:
    text = (PACKAGING / "doc" / "liveness-extension.md").read_text(encoding="utf-8")
    assert f'{FEATURE_LIVENESS_EXT} = "1"' in text
    rows = re.findall(r"^ \* \| +alive +\|.*\| (\d+)$", text, re.MULTILINE)
    assert [int(end) - 4 for end in rows] == [ALIVE_BYTE]


def test_availability_extension_is_described_where_it_is() -> None:
    text = (PACKAGING / "doc" / "availability-extension.md").read_text(encoding="utf-8")
    assert f"`backend/vsnd/<domid>/<devid>/{UNAVAILABLE_STREAMS}`" in text
    assert f" * {UNAVAILABLE_STREAMS}\n" in text


def test_volume_extension_is_described_where_it_is() -> None:
    text = (PACKAGING / "doc" / "volume-extension.md").read_text(encoding="utf-8")
    assert f'{FEATURE_VOLUME_EXT} = "1"' in text
    assert f"#define XENSND_EVT_VOLUME               {volume_ext.EVENT_TYPE}\n" in text
    rows = re.findall(r"^ \* \| +(muted|channel\[\d+\]) +\| (\d+)$", text, re.MULTILINE)
    place = volume_ext._PLACE
    assert {name: int(end) - 4 - place for name, end in rows} == {
        "muted": offset("xpa_volume_ext", "muted"),
        "channel[0]": volume_ext._VOLUMES_PLACE,
        "channel[11]": volume_ext._VOLUMES_PLACE + 4 * (volume_ext.MAX_CHANNELS - 1),
    }
    (words,) = re.findall(r"^ \* \| +changed +\| +silenced .*\| (\d+)$", text, re.MULTILINE)
    names = ("changed", "silenced", "channels")
    assert [offset("xpa_volume_ext", name) for name in names] == [0, 1, 2]
    assert int(words) == place + 4


@pytest.mark.parametrize("picture", ["path.svg", "rooms.svg", "status.svg"])
def test_picture_is_well_formed(picture: str) -> None:
    document = xml.dom.minidom.parse(str(PACKAGING / "doc" / "pictures" / picture))
    assert document.documentElement is not None
    assert document.documentElement.tagName == "svg"


def test_screen_pictures_are_small() -> None:
    pictures = sorted((PACKAGING / "doc" / "pictures").glob("*.png"))
    assert [path.stem.rpartition("-")[2] for path in pictures] == [
        "sound", "configuration", "input", "output"
    ]  # fmt: skip
    for path in pictures:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) < 100_000, path


def test_files_have_no_path_of_a_machine() -> None:
    for path in (p for p in PACKAGING.rglob("*") if p.is_file()):
        assert not re.search(rb"/(home|work|tmp)/", path.read_bytes()), path
