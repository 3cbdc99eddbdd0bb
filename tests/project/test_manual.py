"""The manual page says what the program does: commands, options, defaults, policy keys. Its options
are made from the parser by packaging/man.py; what is asked here holds for them however they are
made."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from xenpvaudio import usage
from xenpvaudio.config import POLICY_KEYS, FrontendSettings, Policy, load_policy

# -- the manual


ROOT = Path(__file__).resolve().parents[2]
MANUAL = ROOT / "packaging" / "man" / "xen-pv-audio.1"


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def manual_sections(macro: str) -> dict[str, str]:
    """The source between a .SH or .SS and the next heading, by heading."""
    found: dict[str, str] = {}
    text = MANUAL.read_text(encoding="utf-8").replace(r"\-", "-")
    for block in re.split(r"^\.(?=S[HS] )", text, flags=re.MULTILINE)[1:]:
        heading, _, body = block.partition("\n")
        kind, _, title = heading.partition(" ")
        if kind == macro:
            found[title.strip()] = body
    return found


def tags(body: str) -> list[str]:
    """The tag line after each .TP."""
    return [line for line in re.findall(r"^\.TP\n(.*)$", body, re.MULTILINE)]


def manual_options(body: str) -> set[str]:
    return {
        option for tag in tags(body) for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", tag)
    }


def parser_options(parser: argparse.ArgumentParser) -> set[str]:
    """Those of its orders (`mic allow`) too, but not of commands."""
    options = {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if action.dest == "order":
            assert isinstance(action.choices, dict)
            for order in action.choices.values():
                options |= parser_options(order)
    return options - {"-h", "--help"}


def renewed(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "packaging/man.py", *map(str, words)]
    env = {**os.environ, "PYTHONPATH": "bridge"}
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_manual_is_what_the_parser_makes_of_it() -> None:
    done = renewed("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_manual_that_is_not_what_the_parser_says_is_told_and_mended(tmp_path: Path) -> None:
    text = MANUAL.read_text(encoding="utf-8")
    page = tmp_path / "page.1"
    page.write_text(text.replace("frames between two position reports", "something else"))
    assert page.read_text() != text
    done = renewed("--check", page)
    assert (done.returncode, done.stderr.split(" is not")[0]) == (1, str(page))
    assert renewed(page).returncode == 0
    assert page.read_text() == text


@pytest.mark.parametrize("name", ["frontend", "synopsis", "program"])
def test_manual_without_one_of_its_parts_is_told(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.1"
    text = MANUAL.read_text(encoding="utf-8")
    page.write_text(text.replace(f"packaging/man.py: {name}\n", "packaging/man.py: strange\n"))
    done = renewed(page)
    assert done.returncode == 1
    assert name in done.stderr and "strange" in done.stderr


def test_manual_has_every_command_and_no_other() -> None:
    commands = set(subcommands(usage.parser()))
    described = set(manual_sections("SS")) - {"options without a command"}
    assert described == commands
    synopsis = manual_sections("SH")["SYNOPSIS"]
    assert set(re.findall(r"^\.B xen-pv-audio ([a-z-]+)$", synopsis, re.MULTILINE)) >= commands


@pytest.mark.parametrize("command", sorted(subcommands(usage.parser())))
def test_manual_has_every_option_of_the_command_and_no_other(command: str) -> None:
    body = manual_sections("SS").get(command, "")
    assert manual_options(body) == parser_options(subcommands(usage.parser())[command])


def test_manual_has_the_options_without_a_command() -> None:
    body = manual_sections("SS")["options without a command"]
    assert manual_options(body) - {"-h", "--help"} == parser_options(usage.parser())


@pytest.mark.parametrize("command", sorted(subcommands(usage.parser())))
def test_manual_gives_each_number_its_default(command: str) -> None:
    body = manual_sections("SS").get(command, "")
    entries = {
        tag: text for tag, text in re.findall(r"^\.TP\n(.*)\n((?:(?!\.TP).*\n?)*)", body, re.M)
    }
    defaults: dict[str, object] = {}
    if command == "frontend":
        defaults = {
            f"--{spec.name.replace('_', '-')}": spec.default
            for spec in fields(FrontendSettings)
            if not isinstance(spec.default, (bool, str))
        }
    for action in subcommands(usage.parser())[command]._actions:
        number = action.default
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            defaults[action.option_strings[0]] = number
    for option, number in defaults.items():
        (text,) = (text for tag, text in entries.items() if option in tag.replace('"', " ").split())
        assert f"(default {number:g})" in text, option


def test_manual_has_every_policy_key_and_no_other() -> None:
    named = {tag.removeprefix(".B ") for tag in tags(manual_sections("SH")["POLICY FILE"])}
    assert named == set(POLICY_KEYS)


def test_policy_in_the_manual_loads(tmp_path: Path) -> None:
    example = re.search(r"^\.nf\n\.RS\n(.*?)^\.RE", manual_sections("SH")["EXAMPLES"], re.M | re.S)
    assert example
    path = tmp_path / "backend.toml"
    path.write_text(example[1])
    policy = load_policy(path)
    assert isinstance(policy, Policy)
    assert policy.of("work").microphone and not policy.default.microphone


def test_command_lines_of_the_manuals_examples_are_accepted() -> None:
    lines = [tag for tag in tags(manual_sections("SH")["EXAMPLES"]) if "xen-pv-audio" in tag]
    assert lines
    for line in lines:
        usage.parser().parse_args(line.removeprefix(".B xen-pv-audio ").split())


def test_manual_is_formatted_without_a_warning() -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not here")
    command = [groff, "-man", "-Tutf8", "-ww", "-z", str(MANUAL)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
