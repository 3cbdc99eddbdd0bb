"""Every command of the README and of the pages on installing works: what can run here is run, the
rest is checked. What installs packages is run by tests/roots/install.py.

The ```sh blocks are cut into commands. Each must match one row of COMMANDS, which says how
it is tested; a command that matches none fails. What needs root, Xen or a download is checked for
what it names: files, packages, units, targets. Installing files is run, with another root.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from project.pages.written import COMMAND_LINES, ROOT, blocks
from xenpvaudio import usage
from xenpvaudio.sound.speech import speech_bytes
from xenpvaudio.sound.wav import write_wav
from xenpvaudio.xen.connect import SIM_VARIABLE

LIMIT_SEC = 120


@dataclass
class Place:
    """A folder with my.wav, and an environment in which no PipeWire runs but what we start."""

    folder: Path
    env: dict[str, str]
    _kept: dict[str, str] = field(default_factory=dict)
    _keeper: subprocess.Popen[str] | None = None

    def run(self, command: list[str], env: dict[str, str] | None = None) -> str:
        """Standard output; AssertionError with everything said if it fails."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=env or self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SEC,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def kept(self) -> dict[str, str]:
        """The environment that `demo --keep` prints; it stays up until stop()."""
        if self._keeper is None:
            self._keeper = subprocess.Popen(
                ["xen-pv-audio", "demo", "--keep", "--private"],
                cwd=self.folder,
                env=self.env,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            assert self._keeper.stdout is not None
            self._kept = dict(self.env)
            for line in self._keeper.stdout:
                if line.startswith("  export "):
                    name, _, text = line.removeprefix("  export ").strip().partition("=")
                    self._kept[name] = shlex.split(text)[0]
                if "Ctrl-C" in line:
                    break
        assert self._keeper.poll() is None
        return self._kept

    def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.send_signal(signal.SIGINT)
            status = self._keeper.wait(LIMIT_SEC)
            assert self._keeper.stdout is not None
            self._keeper.stdout.close()
            assert status == 0, "Ctrl-C is how --keep ends"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="xpa-readme-") as name:
        folder = Path(name)
        write_wav(folder / "my.wav", 48000, 2, "s16", speech_bytes(1, 48000, 2))
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        foreign = ("PIPEWIRE_", "PULSE_", "DBUS_")
        env = {key: text for key, text in os.environ.items() if not key.startswith(foreign)}
        env["XDG_RUNTIME_DIR"] = str(runtime)
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        made = Place(folder, env)
        try:
            yield made
        finally:
            made.stop()


# -- how commands are tested


def make(command: str, place: Place) -> None:
    """The target exists, and what it ends with for a demo is run."""
    words = shlex.split(command)
    # Not the flags of a make that may have started these tests.
    env = {key: text for key, text in place.env.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-n", *words[1:]], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    if words[1] == "demo":
        program, *arguments = shlex.split(last)
        assert program.endswith("/xen-pv-audio")
        assert arguments[0] == "demo"
        run_demo(arguments, place)
    elif words[1] == "bench":
        assert last.strip().endswith("python -m bench"), last
        assert "make bench " in (ROOT / ".ci/run").read_text(), "CI runs it, with --quick"
    elif words[1] == "packages":
        assert last == "packaging/packages.sh", "run by tests/roots/install.py"
    else:
        assert "-m pytest" in done.stdout, "not run here: these tests are what it runs"


def run_demo(arguments: list[str], place: Place) -> None:
    options = usage.parser().parse_args(arguments)
    if options.keep:
        assert place.kept()["PULSE_SERVER"]
        return
    out = place.run(["xen-pv-audio", *arguments])
    if options.json:
        assert json.loads(out)["bit_exact"] is True
    else:
        shown = re.sub(r"[\d.]+", "0", out)
        assert all(row in shown for row in ("bit exact          yes", "(0 lost, 0 repeated)"))


def in_the_kept_guest(command: str, place: Place) -> None:
    """Beside `demo --keep`, in the guest's environment."""
    out = place.run(shlex.split(command), place.kept())
    if command.split()[0] in ("wpctl", "pw-cli") or "list" in command:
        assert "Xen PV Audio" in out


def install(command: str, place: Place) -> None:
    """Run, with a folder of ours in place of the root folder."""
    root = place.folder / "root"
    sudo, *words = shlex.split(command)
    assert sudo == "sudo"
    moved = [f"{root}{word}" if word.startswith("/") else word for word in words]
    subprocess.run(moved, cwd=ROOT, check=True, capture_output=True, timeout=LIMIT_SEC)
    (source,) = (word for word in words if word.startswith("packaging/"))
    (target,) = (word for word in words if word.startswith("/"))
    file = Path(f"{root}{target}")
    file = file / Path(source).name if file.is_dir() else file
    assert file.read_bytes() == (ROOT / source).read_bytes()


def link(command: str, place: Place) -> None:
    """The program is one that pip installs into the environment of the line before."""
    target = shlex.split(command)[-2]
    assert f"sudo python3 -m venv {target.rpartition('/bin/')[0]}" in COMMAND_LINES
    assert "xen-pv-audio =" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert target.endswith("/xen-pv-audio")


def own_packages(command: str, place: Place) -> None:
    """Those that `make packages` leaves there: the program, and one of the halves."""
    control = (ROOT / "packaging" / "debian" / "control").read_text(encoding="utf-8")
    built = re.findall(r"^Package: (.*)$", control, re.MULTILINE)
    files = shlex.split(command)[3:]
    names = [re.fullmatch(r"\./dist/(xen-pv-audio-\w+)_\*\.deb", file) for file in files]
    assert all(names) and {name[1] for name in names if name} <= set(built)
    assert 'mv "$work"/*.deb dist/' in (ROOT / "packaging" / "packages.sh").read_text()


def linger(command: str, place: Place) -> None:
    """loginctl has that verb."""
    done = subprocess.run(["loginctl", "--help"], capture_output=True, text=True, check=True)
    assert shlex.split(command)[2] in done.stdout


def packages(command: str, place: Place) -> None:
    """Debian's names, as the set-up script uses them for the demo."""
    script = (ROOT / "packaging" / "setup-debian.sh").read_text(encoding="utf-8")
    names = shlex.split(command)[3:]
    assert names
    assert set(names) <= set(re.findall(r"[a-z0-9][a-z0-9.+-]+", script))


def set_up_script(command: str, place: Place) -> None:
    _, script, chosen = shlex.split(command)
    text = (ROOT / script).read_text(encoding="utf-8")
    assert re.search(rf"^{chosen}\) wanted=", text, re.MULTILINE)
    assert os.access(ROOT / script, os.X_OK)


def unit(command: str, place: Place) -> None:
    """The unit is among those that the lines before have installed."""
    name = command.split()[-1]
    scope = "user" if "--user" in command else "system"
    folder = f"systemd/{scope}" if name.startswith("xen-") else "pipewire/system-wide"
    file = f"packaging/{folder}/{name}.service"
    assert (ROOT / file).exists()
    assert f"sudo install -D -m 644 -t /etc/systemd/{scope} {file}" in COMMAND_LINES


def not_for_users(command: str, place: Place) -> None:
    """There are both units, of the users' managers and of the system's."""
    name = f"{command.split()[-1]}.service"
    assert (ROOT / "packaging/systemd/user" / name).exists()
    assert (ROOT / "packaging/systemd/system" / name).exists()


def users(command: str, place: Place) -> None:
    """Those of files that the lines before have installed; made by tests/roots/boot.py."""
    assert any("-t /etc/sysusers.d packaging/" in line for line in COMMAND_LINES)


def group(command: str, place: Place) -> None:
    """It is the group of the udev rules."""
    assert "xen-audio" in shlex.split(command)
    rules = (ROOT / "packaging" / "udev" / "70-xen-pv-audio.rules").read_text(encoding="utf-8")
    assert set(re.findall(r'GROUP="([^"]+)"', rules)) == {"xen-audio"}


def clone(command: str, place: Place) -> None:
    """From this repository instead of the published one, whose address the reader fills in."""
    target = place.folder / shlex.split(command)[-1]
    if not target.exists():
        if shutil.which("git") is None or not (ROOT / ".git").exists():
            pytest.skip("this is no clone: the project was copied here without its history")
        (line,) = (line for line in COMMAND_LINES if line.startswith("git clone"))
        place.run(["sh", "-c", line], {**place.env, "URL": str(ROOT)})
    assert (target / "Makefile").exists()
    assert (target / "packaging" / "setup-debian.sh").exists()


def venv(command: str, place: Place) -> None:
    """In another root: pip is there afterwards, where the next command looks for it."""
    words = shlex.split(command)[1:]
    target = words[-1]
    assert f"sudo {target}/bin/pip install ." in COMMAND_LINES
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("python3-venv is missing, as in a root of another release")
    place.run([*words[:-1], f"{place.folder}{target}"])
    assert (Path(f"{place.folder}{target}") / "bin" / "pip").exists()


def pip_install(command: str, place: Place) -> None:
    """Up to the downloads: test_build.py builds the wheel that is installed then."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is missing, as in a root of another release")
    words = shlex.split(command)[2:]
    options = ["--dry-run", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    pip = [sys.executable, "-m", "pip", words[0], *options, *words[1:]]
    done = subprocess.run(pip, cwd=ROOT, env=place.env, capture_output=True, text=True, check=False)
    assert "Would install xen-pv-audio-" in done.stdout, done.stdout + done.stderr


def doctor(command: str, place: Place) -> None:
    """In the guest of `demo --keep`, where nothing is wrong."""
    out = place.run(shlex.split(command), place.kept())
    assert "WRONG" not in out


def status(command: str, place: Place) -> None:
    """Likewise."""
    out = place.run(shlex.split(command), place.kept())
    assert out.startswith("frontend of domain 1: PipeWire is there, 1 card\n")


def order(command: str, place: Place) -> None:
    """On its host, where the guest has another name."""
    env = place.kept()
    on_the_host = {**env, SIM_VARIABLE: env[SIM_VARIABLE].rpartition(":")[0] + ":0"}
    out = place.run(shlex.split(command.replace("desktop", "demo-guest")), on_the_host)
    assert out.startswith("demo-guest")


def in_a_guest_with_a_microphone(command: str, place: Place) -> None:
    """That of `demo --keep`, whose default sink the other commands want as it was."""
    words = shlex.split(command)
    out = place.run(words, place.kept())
    assert out.startswith(
        "echo cancellation is on" if "enable" in words else "echo cancellation is off"
    )


def query(command: str, place: Place) -> None:
    """In the guest of `demo --keep`."""
    assert "device/vsnd/0  Xen PV Audio" in place.run(shlex.split(command), place.kept())


def toolstack(command: str, place: Place) -> None:
    """On its host, where the guest has another name and a card already."""
    env = place.kept()
    on_the_host = {**env, SIM_VARIABLE: env[SIM_VARIABLE].rpartition(":")[0] + ":0"}
    (file,) = {line.split()[-1] for line in COMMAND_LINES if line.startswith("xen-pv-audio attach")}
    words = ["xen-pv-audio", "attach", "demo-guest", str(ROOT / file)]
    out = place.run(words, on_the_host)
    assert "of domain 1 (demo-guest) is connected" in out
    number = out.partition("/")[2].partition(" ")[0]
    out = place.run(["xen-pv-audio", "detach", "demo-guest", number], on_the_host)
    assert out == f"vsnd/{number} of domain 1 is gone\n"
    assert command in (f"xen-pv-audio attach desktop {file}", "xen-pv-audio detach desktop")


def driver_domain(command: str, place: Place) -> None:
    """Run by tests/roots/boot.py; here it says what it lacks."""
    script = shlex.split(command)[1]
    done = subprocess.run([str(ROOT / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "driver-domain.sh USER" in done.stderr


COMMANDS: list[tuple[str, Callable[[str, Place], None]]] = [
    (r"xen-pv-audio doctor", doctor),
    (r"xen-pv-audio status", status),
    (r"xen-pv-audio query", query),
    (r"xen-pv-audio (attach|detach) desktop( \S+)?", toolstack),
    (r'sudo packaging/driver-domain\.sh "\$USER"', driver_domain),
    (r"xen-pv-audio (mic list|(mic allow|mic deny|mute|unmute) \w+( --always)?)", order),
    (r"xen-pv-audio aec (enable|disable)", in_a_guest_with_a_microphone),
    (r'git clone "\$URL" xen-pv-audio', clone),
    (r"cd xen-pv-audio", clone),
    (r"make (demo|test|bench|packages)( ARGS='[^']*')?", make),
    (r"(wpctl status|pw-cli ls Node|pactl list sinks)", in_the_kept_guest),
    (r"pactl set-default-sink \S+", in_the_kept_guest),
    (r"(pw-play|paplay) my\.wav", in_the_kept_guest),
    (r"sudo apt-get install( [\w-]+)+", packages),
    (r"sudo apt-get install( \./\S+)+", own_packages),
    (r'sudo loginctl enable-linger "\$USER"', linger),
    (r"sudo packaging/setup-debian\.sh \w+", set_up_script),
    (r"sudo python3 -m venv \S+", venv),
    (r"sudo \S+/bin/pip install \.", pip_install),
    (r"sudo ln -sf \S+ \S+", link),
    (r"sudo install -D -m 644 .*", install),
    (r"sudo (groupadd|usermod) .*", group),
    (r"(sudo systemctl|systemctl --user) enable [\w-]+", unit),
    (r"sudo systemctl --global disable [\w-]+", not_for_users),
    (r"sudo systemd-sysusers", users),
]


def test_readme_has_commands() -> None:
    assert {"make demo", "make test"} <= set(COMMAND_LINES)


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_readme_command_works(command: str, place: Place) -> None:
    fitting = [test for pattern, test in COMMANDS if re.fullmatch(pattern, command)]
    assert len(fitting) == 1, f"{command}: not covered, add it to COMMANDS"
    fitting[0](command, place)


@pytest.mark.parametrize("block", blocks("sh"))
def test_readme_block_is_valid_shell(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_uncovered_command_is_noticed() -> None:
    assert not any(re.fullmatch(pattern, "rm -rf build") for pattern, _ in COMMANDS)


def test_every_way_to_test_a_command_is_needed() -> None:
    for pattern, _ in COMMANDS:
        assert any(re.fullmatch(pattern, command) for command in COMMAND_LINES), pattern
