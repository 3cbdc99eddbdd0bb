"""The Debian packages in throw-away roots of Debian releases: built, installed, upgraded, removed,
purged, and used in between; and booted by systemd, in a container.

    python3 tests/roots/install.py [SUITE...]        by default Debian 12, 13 and testing

And the wheel (wheels.py). Two roots a suite are kept (root.py): one with what packaging/debian/
control builds with, one with what it depends on and recommends and nothing else. Each run installs
in a copy of the second. Where a file is there after the purge that was not there before, where the
demo does not play bit-exact, or where a step fails, the run ends with 1. Needs root, mmdebstrap and
systemd-nspawn.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from aptroot import CannotRunError, remove_tree, run
from roots import wheels
from roots.boot import LISTENER, OTHER, boot
from roots.root import CACHE, INSIDE, PROJECT, build, copy_project, execute, mounted, say

DEFAULT_SUITES = ("bookworm", "trixie", "forky")
CONTROL = PROJECT / "packaging" / "debian" / "control"
# What dpkg-buildpackage and lintian are; and in the other root, what the packages' files are for.
BUILDERS = ("build-essential", "fakeroot", "lintian")
SYSTEM = ("bash", "dbus-user-session", "kmod", "libpam-systemd", "passwd", "systemd",
          "systemd-sysv", "udev", "util-linux")  # fmt: skip
# What debhelper and dpkg-shlibdeps add by what they find in the packages.
FOUND = ("libpipewire-0.3-0", "python3-cffi-backend", "init-system-helpers")
PACKAGES = ("alsa", "backend", "common", "frontend")
OLD = "0.0.1"
DEMOS_AT_MOST = 3
USER = "games"  # an ordinary one in that it may do nothing; Debian always has it
# What apt, dpkg, passwd and systemd keep of their own; and a user's files, which are no package's.
KEPT = re.compile(
    r"(var/(log|cache|lib/(apt|dpkg))|run/systemd|tmp|proc|dev|sys|project)(/|$)"
    r"|etc/(g?(shadow|group)|passwd)-$"
)


class WrongError(Exception):
    """Something is not as it should be; the message says what."""


def expect(truth: object, what: str) -> None:
    if not truth:
        raise WrongError(what)


def names(control: str, *fields: str) -> list[str]:
    """Package names in these fields of all paragraphs, of alternatives the first, as apt takes it;
    not our own, no substitutions."""
    found = set()
    for field in fields:
        for text in re.findall(rf"^{field}:((?:.*\n)(?:[ \t].*\n)*)", control, re.MULTILINE):
            for word in text.split(","):
                name = re.split("[(|]", word)[0].strip()
                if name and not name.startswith(("$", "xen-pv-audio-")):
                    found.add(name)
    return sorted(found)


def snapshot(root: Path) -> dict[str, str]:
    """All files below `root` but those KEPT: what each is."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder) / name
            inside = path.relative_to(root).as_posix()
            if KEPT.match(inside):
                continue
            status = path.lstat()
            what = [oct(status.st_mode), str(status.st_uid), str(status.st_gid)]
            if path.is_symlink():
                what.append(os.readlink(path))
            elif path.is_file():
                what.append(hashlib.sha256(path.read_bytes()).hexdigest())
            found[inside] = " ".join(what)
        folders[:] = [
            name for name in folders if not KEPT.match(f"{Path(folder, name).relative_to(root)}/")
        ]
    return found


def difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is new, changed or gone."""
    return sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )


def older(deb: Path, folder: Path) -> None:
    """The same package, as of a version before."""
    tree = folder / deb.stem
    run("dpkg-deb", "--raw-extract", deb, tree)
    control = tree / "DEBIAN" / "control"
    text = re.sub(r"^Version: .*$", f"Version: {OLD}", control.read_text(), flags=re.MULTILINE)
    text = re.sub(r"(xen-pv-audio-common) \((=|<<|>=) [^)]*\)", rf"\1 (= {OLD})", text)
    control.write_text(text)
    run("dpkg-deb", "--root-owner-group", "--build", tree, folder)


class Place:
    """A root with packages in it. `root`: to be thrown away."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, command: str, user: str = "root") -> str:
        """A line of shell; WrongError with what it said if it fails."""
        words = ["chroot", f"--userspec={user}", str(self.root), "env", "-i", "-C", "/tmp",
                 "HOME=/tmp/home", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                 "DEBIAN_FRONTEND=noninteractive", "PYTHONDONTWRITEBYTECODE=1",
                 "XDG_RUNTIME_DIR=/tmp/home", "sh", "-ec", command]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        expect(done.returncode == 0, f"{command}: {done.stdout[-600:]} {done.stderr[-600:]}")
        return done.stdout

    def says(self, command: str, user: str = "root") -> bool:
        """Whether it ends with 0."""
        try:
            self.run(command, user)
        except WrongError:
            return False
        return True

    def apt(self, words: str) -> None:
        # The root has no lists of packages: what is not in it already, nothing of ours may need.
        self.run(f"apt-get -q -y {words}")

    def installed(self) -> set[str]:
        listed = self.run("dpkg-query -W -f '${db:Status-Status} ${Package}\\n'")
        return {line.split()[1] for line in listed.splitlines() if line.startswith("installed ")}


MIN_QUANTUM = (
    "mkdir -p run; export XDG_RUNTIME_DIR=$PWD/run PIPEWIRE_VM=4; pipewire 2>/dev/null & "
    "for n in $(seq 200); do pw-cli info 0 >info 2>/dev/null && break; sleep 0.1; done; "
    "kill $!; wait $! || true; "
    "sed -n 's/.*default.clock.min-quantum = \"\\([0-9]*\\)\".*/\\1/p' info"
)
KEEPS_OUT = "modprobe --showconfig | grep -q '^blacklist snd_xen_front'"


def min_quantum(place: Place) -> int:
    """That PipeWire takes in a virtual machine, by its files here."""
    return int(place.run(f"cd $(mktemp -d); {MIN_QUANTUM}", USER))


def is_enabled(place: Place, half: str) -> bool:
    wants = place.root / "etc/systemd/user/default.target.wants"
    return (wants / f"xen-pv-audio-{half}.service").is_symlink()


def complaints(place: Place, unit: str) -> list[str]:
    """What systemd says of a unit."""
    user = "--user" if "/user/" in unit else ""
    said = place.run(f"systemd-analyze {user} verify --man=no {unit} 2>&1 || true")
    return [line for line in said.splitlines() if "xen-pv-audio" in line]


def demonstration(place: Place) -> dict[str, Any]:
    """What the demo tells of itself. It is given again where it is not bit-exact: PipeWire itself
    leaves a cycle out where all processors are taken (README, "What you see")."""
    for left in reversed(range(DEMOS_AT_MOST)):
        told = place.run("xen-pv-audio demo --json --private || test $? = 1", USER)
        demo: dict[str, Any] = json.loads(told)
        expect(demo["bit_exact"] or left, f"the demo is not bit-exact: {demo}")
        if demo["bit_exact"]:
            return demo
    raise AssertionError("the last one returns or raises")


def after_install(place: Place) -> Iterator[str]:
    expect(place.says("getent group xen-audio"), "there is no group xen-audio")
    expect(place.says(KEEPS_OUT), "the kernel's driver is not kept out")
    quantum = min_quantum(place)
    expect(quantum == 256, f"PipeWire's least quantum in a virtual machine is {quantum}")
    for half in ("frontend", "backend"):
        expect(is_enabled(place, half), f"the unit of the {half} is not enabled for users")
        unit = f"/usr/lib/systemd/user/xen-pv-audio-{half}.service"
        expect((found := complaints(place, unit)) == [], f"systemd: {found}")
        state = place.run(f"systemctl is-enabled xen-pv-audio-{half} || true").strip()
        expect(state == "disabled", f"the system's unit of the {half} is {state}")
        unit = f"/lib/systemd/system/xen-pv-audio-{half}.service"
        expect((found := complaints(place, unit)) == [], f"systemd: {found}")
    pulled = place.installed() & {"pulseaudio", "python3-pulsectl"}
    expect(not pulled, f"{pulled} was pulled in")
    version = place.run("xen-pv-audio --version", USER).strip()
    demo = demonstration(place)
    pipewire = place.run("pipewire --version").splitlines()[-1].split()[-1]
    yield f"{version}; PipeWire {pipewire}; the demo: {demo['frames_received']} frames, bit-exact"


def steps(place: Place, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """A line a step."""
    before = snapshot(place.root)
    expect(not place.says(KEEPS_OUT), "the kernel's driver was kept out before")
    expect(min_quantum(place) == 1024, "PipeWire's least quantum was another one before")
    started = time.monotonic()
    place.apt(f"install {shlex.join(new)}")
    yield f"installed in {time.monotonic() - started:.1f} s"
    yield from after_install(place)

    place.apt("remove 'xen-pv-audio-*'")
    expect(not place.says(KEEPS_OUT), "the kernel's driver is kept out after removal")
    expect(min_quantum(place) == 1024, "PipeWire's quantum stays lowered after removal")
    place.apt("purge 'xen-pv-audio-*'")
    expect((left := difference(before, snapshot(place.root))) == [], f"the purge left {left}")
    yield "removed and purged: nothing is left"

    place.apt(f"install {shlex.join(old)}")
    # What an administrator says goes on to hold.
    place.run("systemctl --global disable xen-pv-audio-frontend")
    policy = "/etc/xen-pv-audio/backend.toml"
    place.run(f"mkdir -p /etc/xen-pv-audio; echo '[default]' >{policy}")
    place.apt(f"install {shlex.join(new)}")
    versions = place.run("dpkg-query -W -f '${Version} ' 'xen-pv-audio-*'").split()
    expect(len(versions) == len(PACKAGES) and OLD not in versions, f"after the upgrade: {versions}")
    expect(not is_enabled(place, "frontend"), "the upgrade enabled a disabled unit")
    expect(is_enabled(place, "backend"), "the upgrade disabled a unit")
    place.apt("remove xen-pv-audio-frontend")
    expect(not place.says(KEEPS_OUT), "the kernel's driver is kept out by the backend")
    place.apt("remove 'xen-pv-audio-*'")
    expect(place.says(f"test -s {policy}"), "the removal took the policy")
    place.apt("purge 'xen-pv-audio-*'")
    expect((left := difference(before, snapshot(place.root))) == [], f"the purge left {left}")
    yield "upgraded, what was said in /etc holds; removed and purged: nothing is left"


def after_boot(root: Path) -> str:
    """On a host where nobody logs in, of two users that linger."""
    told = boot(root)
    common = {"Result": "success", "UnitFileState": "enabled"}
    running = {"ActiveState": "active", "ConditionResult": "yes"}
    running["StatusText"] = "0 guests, 0 streams running"
    idle = {"ActiveState": "inactive", "ConditionResult": "no", "StatusText": ""}
    expect(told["sessions"] == 0, "somebody was logged in")
    expect(told[LISTENER] == common | running, f"the backend after the boot: {told}")
    expect(told[OTHER] == common | idle, f"of a user who may not: {told}")
    system = told["system"]
    expect(system["ActiveState"] == "active", f"the system's backend after the boot: {told}")
    expect(system["heard"].get("bit_exact"), f"through the PipeWire of the system: {told}")
    expect(system["asked"].startswith("backend"), f"root asked the system's backend: {told}")
    expect("1 guest, 1 stream running" in system["playing"], f"its line while it played: {told}")
    said = told["dpkg"]
    expect(told["upgrade"] == {"status": 0, "runs on": True}, f"{told['upgrade']}: {said}")
    gone = {"status": 0, "ActiveState": "inactive"}
    expect(told["removal"] == gone, f"after the removal: {told['removal']}: {said}")
    return (
        "booted: nobody logs in, the backend of the user that driver-domain.sh was told runs, no "
        "other user's does; an upgrade lets it run on, the removal ends it; "
        f"the system's plays {system['heard']['frames']} frames bit-exact"
    )


def building() -> list[str]:
    """What the packages are built with."""
    wanted = [*names(CONTROL.read_text(encoding="utf-8"), "Build-Depends"), *BUILDERS]
    wanted = [name for name in wanted if not name.startswith("dh-sequence-installsysusers")]
    real = {"debhelper-compat": "debhelper", "dh-sequence-python3": "dh-python"}
    return [real.get(name, name) for name in wanted]


def builder(suite: str) -> Path:
    """The root that builds the packages, and the wheel."""
    return build(f"build-{suite}", suite, [*building(), *wheels.BUILDERS])


def built(root: Path) -> list[Path]:
    """The packages, built in this root from this tree."""
    copy_project(root)
    with mounted(root):
        if execute(root, ["sh", "packaging/packages.sh", ".copied"]):
            raise WrongError("the packages are not built, or lintian complains")
    found = [path for path in (root / INSIDE / "dist").glob("*.deb") if "dbgsym" not in path.name]
    names_found = sorted(path.name.partition("_")[0] for path in found)
    wanted = [f"xen-pv-audio-{name}" for name in PACKAGES]
    expect(names_found == wanted, f"the packages built are {names_found}, not {wanted}")
    return sorted(found)


def try_out(suite: str) -> None:
    """WrongError if something is not as it should be."""
    making = builder(suite)
    debs = built(making)
    with mounted(making):
        oldest = suite == DEFAULT_SUITES[0]
        told = wheels.installed_by_pip(Place(making).run, making, oldest=oldest)
        print(f"{suite}: {told}", flush=True)
    control = CONTROL.read_text(encoding="utf-8")
    wanted = [*names(control, "Depends", "Recommends"), *FOUND, *SYSTEM]
    clean = build(f"clean-{suite}", suite, sorted(set(wanted)), ())
    root = CACHE / f"{suite}.installed"
    remove_tree(root)
    run("cp", "-a", "--reflink=auto", clean, root)
    try:
        for folder, make in (("new", shutil.copy), ("old", older)):
            (root / "tmp" / folder).mkdir()
            for deb in debs:
                make(deb, root / "tmp" / folder)
        run("chroot", root, "install", "-d", "-o", USER, "/tmp/home")
        places = [
            [f"/{path.relative_to(root)}" for path in sorted((root / "tmp" / name).glob("*.deb"))]
            for name in ("old", "new")
        ]
        for deb in debs:
            print(f"{suite}: {deb.name} {deb.stat().st_size / 1000:.0f} kB", flush=True)
        with mounted(root):
            for line in steps(Place(root), *places):
                print(f"{suite}: {line}", flush=True)
            Place(root).apt(f"install {shlex.join(places[1])}")
        print(f"{suite}: {after_boot(root)}", flush=True)
    finally:
        remove_tree(root)


def main(suites: Iterable[str]) -> int:
    failed = 0
    for suite in suites or DEFAULT_SUITES:
        started = time.monotonic()
        try:
            try_out(suite)
        except WrongError as error:
            print(f"{suite}: WRONG: {error}", flush=True)
            failed += 1
            continue
        except CannotRunError as error:
            say(str(error))
            return 3
        print(f"{suite}: all in {time.monotonic() - started:.0f} s", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
