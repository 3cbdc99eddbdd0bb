"""SECURITY.md: each test that it names is there, each ceiling of the policy is in it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from xenpvaudio.config import DomainPolicy

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    sources = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "tests").rglob("*.[ch]")]
    found = set()
    for source in sources:
        found |= set(re.findall(r"\b(?:def|void) (test_\w+)\(", source.read_text(encoding="utf-8")))
    assert named and named <= found, named - found


def test_every_ceiling_is_told() -> None:
    keys = {spec.name.replace("_", "-") for spec in fields(DomainPolicy)}
    ceilings = {key for key in keys if key.startswith(("max-", "min-"))}
    assert ceilings == set(re.findall(r"`(m(?:ax|in)-[a-z-]+)`", TEXT))
