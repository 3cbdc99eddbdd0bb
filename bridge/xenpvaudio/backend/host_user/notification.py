"""One question as a desktop notification with buttons, by notify-send of libnotify 0.8 or newer.

org.freedesktop.Notifications is what it speaks (the Desktop Notifications Specification). A program
of its own, since the answer takes a minute and the desktop may hang: it is ended with its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import signal
from collections.abc import Mapping
from subprocess import DEVNULL, PIPE

from xenpvaudio.errors import UnavailableError
from xenpvaudio.logs.quoting import printable

PROGRAM = "notify-send"
# A question that nobody answers goes; who was away is asked at the next recording.
ANSWER_SEC = 60.0
_GRACE_SEC = 2.0
_MOST_BYTES = 4096


async def ask_desktop(title: str, text: str, buttons: Mapping[str, str]) -> str:
    """`buttons`: what each is called and reads. The name of the one that was pressed, "" for none.
    UnavailableError if there is no desktop to ask. Cancelled: the question is withdrawn."""
    actions = [f"--action={name}={words}" for name, words in buttons.items()]
    command = [PROGRAM, "--app-name=Xen PV Audio", "--icon=audio-input-microphone", *actions]
    command += [f"--expire-time={ANSWER_SEC * 1000:.0f}", "--", title, html.escape(text)]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, limit=_MOST_BYTES
        )
    except OSError as error:
        raise UnavailableError(
            f"{PROGRAM}: {error.strerror}", hint="install libnotify-bin"
        ) from None
    try:
        said, told = await asyncio.wait_for(process.communicate(), ANSWER_SEC)
    except TimeoutError:
        return ""
    finally:
        await _end(process)
    if process.returncode:
        why = told.decode("utf-8", "replace").strip().splitlines()
        raise UnavailableError(f"{PROGRAM}: {printable(why[0], 200) if why else 'it failed'}")
    lines = said.decode("utf-8", "replace").split()
    return lines[-1] if lines and lines[-1] in buttons else ""


async def _end(process: asyncio.subprocess.Process) -> None:
    """Told by SIGINT it takes its notification off the screen."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_SEC)
