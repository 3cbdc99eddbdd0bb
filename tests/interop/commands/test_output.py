"""Where the output goes: nowhere, or to a disk that is full. A line at the most, never a
traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from interop.commands.test_cli_errors import LIMIT_SEC, environment


def run(redirections: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """As a shell runs it with these."""
    return subprocess.run(
        [
            *("sh", "-c", f'exec "$@" {redirections}', "sh"),
            *(sys.executable, "-m", "xenpvaudio", *words),
        ],
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SEC,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "status"), [("--help", 0), ("mic list --help", 0), ("doctor", 1), ("status", 3)]
)
def test_closed_output_is_nowhere_and_nothing_else_changes(words: str, status: int) -> None:
    done = run(">&-", *words.split())
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr == run("", *words.split()).stderr


@pytest.mark.parametrize("words", ["status", "mic nonsense"])
def test_errors_that_nobody_reads_are_not_the_output(words: str) -> None:
    done = run("2>&-", *words.split())
    assert done.returncode in (2, 3)
    assert (done.stdout, done.stderr) == ("", "")


def test_all_closed() -> None:
    assert run("<&- >&- 2>&-", "doctor").returncode == 1


@pytest.mark.parametrize("words", ["--help", "aec --help", "doctor", "doctor --json", "--version"])
def test_a_full_disk_is_one_line(words: str) -> None:
    done = run(">/dev/full", *words.split())
    assert done.returncode == 1
    assert done.stderr == "xen-pv-audio: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_terminal_has_no_letters_for_is_spelt_out(encoding: str, tmp_path: Path) -> None:
    """A folder of the user's here, and as well the name of a guest or of a program."""
    folder = tmp_path / "\u97f3" / "xen-pv-audio"
    folder.mkdir(parents=True)
    (folder / "frontend.toml").touch()
    home = {"XDG_CONFIG_HOME": str(folder.parent), "PYTHONIOENCODING": encoding}
    done = run("", "doctor", "frontend", **home)
    assert (done.returncode, done.stderr) == (1, "")
    assert ("\u97f3" if encoding == "utf-8" else "\\u97f3") in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("doctor", "Look at all that sound depends on here"),
        ("mute", "Silence a guest in the host's mixer"),
        ("mic", "Give a guest the microphone, or take it"),
        ("mic deny", "This guest records silence."),
    ],
)
def test_help_of_a_command_says_what_it_does(words: str, said: str) -> None:
    assert said in " ".join(run("", *words.split(), "--help").stdout.split())
