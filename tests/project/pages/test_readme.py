"""What the README and the pages say beside commands: policies, cards, files, names of commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from project.pages.written import PAGES, README, ROOT, blocks
from xenpvaudio import usage
from xenpvaudio.config import DomainPolicy, FrontendSettings, load_policy
from xenpvaudio.frontend.settings_file import load_settings
from xenpvaudio.toolstack.specification import parse_specification


def test_ci_runs_what_the_readme_promises() -> None:
    assert re.search(r"^make test\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_readme_policy_loads(tmp_path: Path) -> None:
    (text,) = blocks("toml", README)
    path = tmp_path / "backend.toml"
    path.write_text(text)
    policy = load_policy(path)
    assert policy.of("desktop").microphone
    assert not policy.default.microphone
    assert policy.of("ivi").allows_role("navi")


@pytest.mark.parametrize("text", blocks("toml", PAGES))
def test_files_on_the_pages_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text(text)
    if text.startswith("["):
        assert load_policy(path).of(None) != DomainPolicy()
    else:
        assert load_settings(path) != FrontendSettings()


def test_cards_on_the_pages_are_cards() -> None:
    found = [block for block in blocks("text", PAGES) if "vsnd = [" in block]
    assert found
    for text in found:
        assert parse_specification(text, "page")


def test_readme_card_is_the_desktop_example() -> None:
    (text,) = (block for block in blocks("text", README) if block.startswith("vsnd"))
    assert text in (ROOT / "packaging" / "xl" / "desktop.cfg").read_text(encoding="utf-8")


def test_readme_names_only_files_that_exist() -> None:
    named = set(re.findall(r"\bpackaging/[\w./-]*\w", README))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", README))
    assert "packaging/doc/pictures/path.svg" in named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_readme_mentions_no_command_that_is_not_there() -> None:
    parser = usage.parser()
    (action,) = (a for a in parser._actions if a.dest == "command")
    assert action.choices is not None
    named = set(re.findall(r"`xen-pv-audio (\w[\w-]*)", README))
    assert named
    assert named <= set(action.choices)


def test_readme_mentions_every_command() -> None:
    parser = usage.parser()
    (action,) = (a for a in parser._actions if a.dest == "command")
    assert action.choices is not None
    missing = [name for name in action.choices if f"xen-pv-audio {name}" not in README]
    assert missing == []
