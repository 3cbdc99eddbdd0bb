"""The parts of the manual that the program's own parser knows: synopsis, options, arguments.

    PYTHONPATH=bridge python3 packaging/man.py [--check] [PAGE]

Renews them in the page (packaging/man/xen-pv-audio.1); with --check it only tells whether they are
new. They stand between two comments, and what is between others is written by hand:

    .\\" made by packaging/man.py: NAME
    .\\" end

NAME is "synopsis", a command, or "program" for the options without a command.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from xenpvaudio import usage

PAGE = Path(__file__).resolve().parent / "man" / "xen-pv-audio.1"
PROGRAM = "program"
_PART = re.compile(
    r'(^\.\\" made by packaging/man\.py: (.*)\n)(?:.*\n)*?(\.\\" end\n)', re.MULTILINE
)


def roff(text: str) -> str:
    """Text as groff wants it."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """By name, in order; of a command, its orders."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def summaries(parser: argparse.ArgumentParser) -> dict[str, str]:
    """The one-line help of each subcommand."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {choice.dest: choice.help or "" for choice in action._choices_actions}
    return {}


def entry(action: argparse.Action) -> list[str]:
    """One option or argument."""
    value = "" if action.nargs == 0 else str(action.metavar or action.dest)
    shown = f" [{value}]" if action.nargs == "?" else f" {value}"
    if not action.option_strings:
        tag = f".I {roff(value)}"
    elif value:
        tag = f'.BI {roff(action.option_strings[0])} "{roff(shown)}"'
    else:
        font = ".B" if len(action.option_strings) == 1 else ".BR"
        tag = f"{font} " + ' ", " '.join(map(roff, action.option_strings))
    said = (action.help or "") % {"default": action.default}
    if not said:
        raise SystemExit(f"man.py: {tag} has no help")
    return [".TP", tag, roff(said)]


def described(parser: argparse.ArgumentParser, *, with_help: bool = False) -> list[argparse.Action]:
    """Options and arguments, arguments first; no subcommands."""
    found = [
        action
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction)
        and (with_help or "--help" not in action.option_strings)
    ]
    return sorted(found, key=lambda action: bool(action.option_strings))


def entries(parser: argparse.ArgumentParser, *, with_help: bool = False) -> list[str]:
    """Its orders (`mic allow`), its arguments and options, and once each those of its orders."""
    lines: list[str] = []
    actions = described(parser, with_help=with_help)
    told = {action.dest for action in actions}
    if with_help:  # the program itself: its commands have sections
        return [line for action in actions for line in entry(action)]
    for name, summary in summaries(parser).items():
        lines += [".TP", f".B {roff(name)}", roff(summary)]
    for order in subcommands(parser).values():
        actions += [action for action in described(order) if action.dest not in told]
        told |= {action.dest for action in actions}
    actions.sort(key=lambda action: bool(action.option_strings))
    return lines + [line for action in actions for line in entry(action)]


def synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    """How each command is called."""
    for name, command in subcommands(parser).items():
        yield f".B xen\\-pv\\-audio {roff(name)}"
        orders = subcommands(command)
        if orders:
            yield ".BR " + " | ".join(map(roff, orders))
        words = ["[option]..."]
        for action in described(next(iter(orders.values()), command)):
            if not action.option_strings:
                name = str(action.metavar or action.dest)
                # of the first order; the others may do without
                words.append(f"[{name}]" if orders or action.nargs == "?" else name)
        yield f".I {roff(' '.join(words))}"
        yield ".br"
    yield ".B xen\\-pv\\-audio \\-\\-help | \\-\\-version"


def made(name: str) -> list[str]:
    """The lines of one part."""
    parser = usage.parser()
    if name == "synopsis":
        return list(synopsis(parser))
    if name == PROGRAM:
        return entries(parser, with_help=True)
    commands = subcommands(parser)
    if name not in commands:
        raise SystemExit(f"man.py: the page has a part {name}, and there is no such command")
    return entries(commands[name])


def renewed(text: str) -> str:
    """The page with its parts made anew; SystemExit if it lacks one."""
    parts = [found[2] for found in _PART.finditer(text)]
    wanted = ["synopsis", *subcommands(usage.parser()), PROGRAM]
    if sorted(parts) != sorted(wanted):
        odd = ", ".join(sorted(set(parts) ^ set(wanted))) or "one twice"
        raise SystemExit(f"man.py: the page has not each part once: {odd}")
    return _PART.sub(lambda part: part[1] + "\n".join(made(part[2])) + "\n" + part[3], text)


def main(words: list[str]) -> int:
    check = "--check" in words
    pages = [Path(word) for word in words if word != "--check"]
    if len(pages) > 1 or any(str(page).startswith("-") for page in pages):
        print(__doc__, file=sys.stderr)
        return 2
    page = pages[0] if pages else PAGE
    text = page.read_text(encoding="utf-8")
    new = renewed(text)
    if check:
        if new != text:
            print(f"{page} is not what the parser says: run packaging/man.py", file=sys.stderr)
        return int(new != text)
    page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
