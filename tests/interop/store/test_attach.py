"""The commands attach and detach on a XenStore, the simulated one and Debian's real daemon: which
nodes they write, who may read them, and what they say where they cannot. Both ends are played by
this file; tests/interop/commands/test_attach.py has the real ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from interop.store.ends import Ends
from interop.world import World
from xenpvaudio import cli
from xenpvaudio.errors import XenPvAudioError
from xenpvaudio.toolstack.cards import run_detach
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.real.xenstore import PyxsStore

ROOT = Path(__file__).resolve().parents[3]
DESKTOP = str(ROOT / "packaging" / "xl" / "desktop.cfg")
FRONT = "/local/domain/3/device/vsnd/{}"
BACK = "/local/domain/{}/backend/vsnd/3/{}"
NOTE = "/libxl/3/device/vsnd/{}"
UUID = "6a9f0c1e-0000-4000-8000-0123456789ab"


def main(words: Sequence[str]) -> int:
    """As cli.main(), which is for a process of its own: it sets up signals and the log."""
    try:
        arguments = cli.parser().parse_args(words)
        return cli._COMMANDS[arguments.command](arguments)
    except XenPvAudioError as error:
        print(f"xen-pv-audio: {error}", file=sys.stderr)
        return error.exit_status


@pytest.fixture
def guest(world: World, monkeypatch: pytest.MonkeyPatch) -> PyxsStore:
    """Domain 3 is "work", domain 4 "driver"; the command line is domain 0's."""
    store = world.guest(3)
    world.guest(4).close()  # a guest's kernel has room for one
    world.dom0.write("/local/domain/0/domid", "0")
    world.dom0.write("/local/domain/3/name", "work")
    world.dom0.write("/local/domain/3/vm", f"/vm/{UUID}")
    world.dom0.write("/local/domain/4/name", "driver")
    world.dom0.mkdir("/local/domain/3/device")
    monkeypatch.delenv(SIM_VARIABLE, raising=False)
    as_domain(world, monkeypatch, 0)
    return store


def as_domain(world: World, monkeypatch: pytest.MonkeyPatch, domid: int) -> None:
    monkeypatch.setenv("XENSTORED_PATH", world.server.socket_path(domid))


def below(store: PyxsStore, path: str) -> dict[str, str]:
    """Relative path -> value, of all that is below."""
    found = {}
    for name in store.list(path):
        found[name] = store.read(f"{path}/{name}")
        found |= {f"{name}/{rest}": v for rest, v in below(store, f"{path}/{name}").items()}
    return found


def fails(capsys: pytest.CaptureFixture[str], *words: str, status: int) -> str:
    assert main(words) == status
    out, complaint = capsys.readouterr()
    assert out == ""
    assert complaint.startswith("xen-pv-audio: ") and complaint.count("\n") == 1
    return complaint


@pytest.mark.parametrize("word", ["3", "work", UUID, UUID.upper()])
def test_a_card_is_written_as_libxl_writes_it(
    word: str, world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attach", word, DESKTOP, "--wait", "0"]) == 0
    assert capsys.readouterr().out == "vsnd/0 of domain 3 (work) is there, backend in domain 0\n"
    front, back, note = FRONT.format(0), BACK.format(0, 0), NOTE.format(0)
    ours = below(world.dom0, front)
    assert {key: ours[key] for key in ("backend", "backend-id", "state")} == {
        "backend": back,
        "backend-id": "0",
        "state": "1",
    }
    assert (ours["sample-rates"], ours["0/0/type"]) == ("48000,44100", "p")
    served = {"frontend": front, "frontend-id": "3", "online": "1", "state": "1"}
    assert below(world.dom0, back) == served
    assert below(world.dom0, note) == {**served, "backend": back}
    for path in (front, f"{front}/state", f"{front}/0/0/unique-id"):
        assert world.dom0.get_perms(path) == ["n3", "r0"]
    for path in (back, f"{back}/online"):
        assert world.dom0.get_perms(path) == ["n0", "r3"]
    assert world.dom0.get_perms(f"{note}/backend") == ["n0"]
    guest.write("device/vsnd/0/state", "3")
    assert guest.read(f"{back}/state") == "1"


def test_numbers_are_the_next_free_ones_or_the_one_that_is_asked_for(
    world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["--card", "5"], []):
        assert main(["attach", "work", DESKTOP, "--wait", "0", *words]) == 0
    assert sorted(world.dom0.list("/local/domain/3/device/vsnd")) == ["0", "1", "5"]
    capsys.readouterr()
    said = fails(capsys, "attach", "work", DESKTOP, "--card", "5", status=2)
    assert "domain 3 has a vsnd device 5 already; detach it first" in said


def test_a_card_may_have_its_backend_in_a_driver_domain(
    world: World, guest: PyxsStore, tmp_path: Path
) -> None:
    file = tmp_path / "x.cfg"
    file.write_text("vsnd = [['CARD, backend=driver', 'STREAM, type=p']]")
    assert main(["attach", "work", str(file), "--wait", "0"]) == 0
    assert world.dom0.get_perms(FRONT.format(0)) == ["n3", "r4"]
    assert world.dom0.get_perms(BACK.format(4, 0)) == ["n4", "r3"]


def test_of_a_file_that_cannot_be_attached_as_a_whole_nothing_is_left(
    world: World, guest: PyxsStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.cfg"
    file.write_text("vsnd = [['STREAM, type=p'], ['CARD, backend=work', 'STREAM, type=p']]")
    said = fails(capsys, "attach", "work", str(file), status=2)
    assert "domain 3 cannot have its own backend; say backend=DOMAIN in CARD" in said
    assert not world.dom0.exists("/local/domain/3/device/vsnd")
    said = fails(capsys, "attach", "work", str(file), "--card", "1", status=2)
    assert "has 2 cards, and --card is for one" in said


@pytest.mark.parametrize("word", ["nobody", "9", "99999", "9" * 60, "-", ""])
def test_a_domain_that_is_not_there_is_named(
    word: str, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("attach", word, DESKTOP), ("detach", word)):
        said = fails(capsys, *words, status=2)
        assert f'there is no domain "{word}"' in said


def test_a_guest_or_driver_domain_is_told_where_to_run_it(
    world: World,
    guest: PyxsStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.dom0.write("/local/domain/4/domid", "4")
    as_domain(world, monkeypatch, 4)
    for words in (("attach", "3", DESKTOP), ("detach", "3")):
        said = fails(capsys, *words, status=1)
        assert "may not change the devices of domains; run this in domain 0" in said


def test_a_file_that_is_none_is_named_before_anything_is_written(
    world: World, guest: PyxsStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.cfg"
    said = fails(capsys, "attach", "work", str(file), status=2)
    assert f"cannot read {file}: No such file" in said
    file.write_text("vsnd = [['STREAM, typ=p']]")
    assert "line 1: STREAM has no setting" in fails(capsys, "attach", "3", str(file), status=2)
    file.write_bytes(b"\xff")
    assert "x.cfg" in fails(capsys, "attach", "3", str(file), status=2)
    file.write_bytes(b" " * (2 << 20))
    assert "more than" in fails(capsys, "attach", "3", str(file), status=2)
    assert not world.dom0.exists("/local/domain/3/device/vsnd")


# -- both ends


def state(end: str) -> str:
    return f"{end}/state"


def test_attach_waits_until_both_ends_are_connected(
    world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    front, back = state(FRONT.format(0)), state(BACK.format(0, 0))
    with Ends(
        world, {(back, "1"): (back, "2"), (back, "2"): (front, "4"), (front, "4"): (back, "4")}
    ):
        assert main(["attach", "work", DESKTOP]) == 0
    assert "vsnd/0 of domain 3 (work) is connected" in capsys.readouterr().out
    assert (world.dom0.read(front), world.dom0.read(back)) == ("4", "4")


def test_without_a_backend_the_card_is_gone_again(
    world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(capsys, "attach", "work", DESKTOP, "--wait", "0.1", status=1)
    assert "the backend in domain 0 did not take vsnd/0 of domain 3, which is gone again" in said
    assert "systemctl --user start xen-pv-audio-backend" in said
    for path in ("/local/domain/3/device/vsnd", "/local/domain/0/backend", "/libxl"):
        assert not world.dom0.exists(path)
    assert world.dom0.read("/local/domain/3/name") == "work"


def test_a_backend_that_refuses_the_card_is_told(
    world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    back = state(BACK.format(0, 0))
    with Ends(world, {(back, "1"): (back, "6")}):
        said = fails(capsys, "attach", "work", DESKTOP, "--wait", "1", status=1)
    assert "the backend in domain 0 refused vsnd/0 of domain 3" in said
    assert not world.dom0.exists("/libxl")


def test_without_a_frontend_the_card_stays_and_waits(
    world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    back = state(BACK.format(0, 0))
    with Ends(world, {(back, "1"): (back, "2")}):
        said = fails(capsys, "attach", "work", DESKTOP, "--wait", "1", status=1)
    assert "vsnd/0 of domain 3 waits for a frontend" in said
    assert "xen-pv-audio detach 3 0" in said
    assert world.dom0.read(back) == "2"


def test_detach_asks_the_backend_and_leaves_nothing(
    world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["attach", "work", DESKTOP, "--wait", "0"])
    capsys.readouterr()
    back = state(BACK.format(0, 0))
    with Ends(world, {(back, "5"): (back, "6")}):
        assert main(["detach", "work"]) == 0
    assert capsys.readouterr().out == "vsnd/0 of domain 3 is gone\n"
    for path in ("/local/domain/3/device/vsnd", "/local/domain/0/backend", "/libxl"):
        assert not world.dom0.exists(path)
    assert "domain 3 (work) has no card 0" in fails(capsys, "detach", "work", status=2)


def test_of_several_cards_the_one_that_is_named_goes(
    world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        main(["attach", "work", DESKTOP, "--wait", "0"])
    capsys.readouterr()
    said = fails(capsys, "detach", "work", status=2)
    assert "domain 3 (work) has the cards 0, 1: say which one" in said
    assert "has no card 7" in fails(capsys, "detach", "work", "7", status=2)
    world.dom0.write(state(BACK.format(0, 1)), "6")  # closed already
    assert main(["detach", "3", "1"]) == 0
    assert world.dom0.list("/local/domain/3/device/vsnd") == ["0"]


def test_a_backend_that_does_not_close_keeps_the_card_but_not_by_force(
    world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["attach", "work", DESKTOP, "--wait", "0"])
    with pytest.raises(XenPvAudioError) as error:
        run_detach("work", timeout_sec=0.1)
    assert "the backend of vsnd/0 of domain 3 did not close in time" in str(error.value)
    assert "xen-pv-audio detach --force" in str(error.value)
    back = BACK.format(0, 0)
    assert (world.dom0.read(f"{back}/online"), world.dom0.read(state(back))) == ("0", "5")
    run_detach("work", force=True, timeout_sec=0.1)
    assert not world.dom0.exists("/libxl")


def test_what_a_domain_left_behind_goes_by_its_number(
    world: World, guest: PyxsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["attach", "work", DESKTOP, "--wait", "0"])
    world.dom0.remove("/local/domain/3")
    world.dom0.write(state(BACK.format(0, 0)), "6")
    capsys.readouterr()
    assert 'no domain "work"' in fails(capsys, "detach", "work", status=2)
    assert main(["detach", "3"]) == 0
    for path in ("/local/domain/3", "/local/domain/0/backend", "/libxl"):
        assert not world.dom0.exists(path)
