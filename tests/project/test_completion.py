"""Completion as a shell gives it: what packaging/completion.py prints is loaded into a bash, which
is asked what may follow."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from xenpvaudio import usage

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("shtab")


def printed(shell: str) -> str:
    command = [sys.executable, "packaging/completion.py", shell]
    env = {**os.environ, "PYTHONPATH": "bridge"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "xen-pv-audio"
    path.write_text(printed("bash"))
    return path


def completed(script: Path, folder: Path, line: str) -> set[str]:
    """What bash offers for the last word of `line`, in `folder`."""
    words = line.split(" ")
    asked = f"""
        source {shlex.quote(str(script))}
        COMP_WORDS=({" ".join(shlex.quote(word) for word in words)})
        COMP_CWORD={len(words) - 1}
        COMP_LINE={shlex.quote(line)}
        COMP_POINT=${{#COMP_LINE}}
        function=$(complete -p xen-pv-audio | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        $function xen-pv-audio {shlex.quote(words[-1])} {shlex.quote(words[-2])}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", asked], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in usage.parser()._actions if a.dest == "command")
    assert isinstance(action.choices, dict)
    return action.choices


def test_every_command_is_offered(script: Path, tmp_path: Path) -> None:
    assert completed(script, tmp_path, "xen-pv-audio ") >= set(commands())
    assert completed(script, tmp_path, "xen-pv-audio fron") == {"frontend"}


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_option_of_a_command_is_offered(command: str, script: Path, tmp_path: Path) -> None:
    options = {
        option
        for action in commands()[command]._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    assert completed(script, tmp_path, f"xen-pv-audio {command} --") == options


def test_words_that_a_command_takes_are_offered(script: Path, tmp_path: Path) -> None:
    assert completed(script, tmp_path, "xen-pv-audio mic ") >= {"allow", "deny", "list"}
    assert completed(script, tmp_path, "xen-pv-audio mic allow --a") == {"--always"}
    assert completed(script, tmp_path, "xen-pv-audio doctor ba") == {"backend"}


def test_paths_complete_to_files(script: Path, tmp_path: Path) -> None:
    (tmp_path / "my.toml").touch()
    assert completed(script, tmp_path, "xen-pv-audio backend --policy my") == {"my.toml"}
    assert completed(script, tmp_path, "xen-pv-audio demo my") == {"my.toml"}


def test_zsh_has_every_command() -> None:
    text = printed("zsh")
    assert text.startswith("#compdef xen-pv-audio\n")
    described = set(re.findall(r"""^ +["']?([a-z-]+):""", text, re.MULTILINE))
    assert described >= set(commands())


@pytest.mark.parametrize("words", [[], ["fish"], ["bash", "zsh"]])
def test_another_use_is_told_how(words: list[str]) -> None:
    command = [sys.executable, "packaging/completion.py", *words]
    env = {**os.environ, "PYTHONPATH": "bridge"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "bash|zsh" in done.stderr
