"""Completion of xen-pv-audio's command line for a shell, from the program's own parser.

    PYTHONPATH=bridge python3 packaging/completion.py bash|zsh

Written by shtab (Debian: python3-shtab), which is needed here only: what it prints is shell.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import shtab

from xenpvaudio import usage

PROGRAM = "xen-pv-audio"


def name_files(parser: argparse.ArgumentParser) -> None:
    """Arguments that are paths complete to files, in orders of commands too."""
    for action in parser._actions:
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                name_files(command)


def main(shells: list[str]) -> int:
    if len(shells) != 1 or shells[0] not in ("bash", "zsh"):
        print(__doc__, file=sys.stderr)
        return 2
    parser = usage.parser()
    parser.prog = PROGRAM
    name_files(parser)
    print(shtab.complete(parser, shells[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
