"""Both ends of the xenbus handshake as tables: own state x event -> actions, next own state. Pure.

The tables hold every cell; frontend/device.py and backend/device.py only carry out what a cell asks
for. An event is what the other end's state node now says, or something local. One step goes like
this:

1. the actions are carried out in their order;
2. if the state changes, or ANNOUNCE is among the actions, the next state is written to XenStore, in
   a transaction that first sees the device's directory there (a removed device must not come back
   to life as a lone state node). UNKNOWN is never written: it means that the device is forgotten;
3. what COMPARE or LOOK has found is fed;
4. leaving a state disarms the timer that was armed on the way into it, or in it.

A state event is fed after the node was written, also when it holds what it held before, since
Linux's frontend too acts on each InitWait; a watch's first firing is fed once. Of many writes the
newest is fed, and one that was read already is not fed for its event that comes late. If a step's
actions fail, its state is not entered and the failure is fed as a local event of the old state.

Sources: sndif.h, State diagrams and Recovery flow; how Linux's snd_xen_front and libxenbe behave.
An own state that this end never has, or a local event that cannot be, is our bug
(LocalProtocolError).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from typing import TypeAlias

from xenpvaudio.errors import LocalProtocolError, PeerProtocolError
from xenpvaudio.logs.quoting import quote
from xenpvaudio_native.header import value

# XenStore nodes that every xenbus device has.
STATE, ONLINE = "state", "online"
BACKEND_PATH, BACKEND_ID = "backend", "backend-id"
FRONTEND_PATH, FRONTEND_ID = "frontend", "frontend-id"

# How long the backend stays in Closing before it offers InitWait again. A guest that shuts down
# must see the Closing; one that unbinds the driver waits 1 s for the InitWait.
CLOSING_HOLD_NSEC = 300_000_000
# How long a frontend that closes waits for the backend, like Linux's.
CLOSE_TIMEOUT_NSEC = 1_000_000_000


class XenbusState(IntEnum):
    """enum xenbus_state of <xen/io/xenbus.h>."""

    UNKNOWN = value("XenbusStateUnknown")
    INITIALISING = value("XenbusStateInitialising")
    INIT_WAIT = value("XenbusStateInitWait")
    INITIALISED = value("XenbusStateInitialised")
    CONNECTED = value("XenbusStateConnected")
    CLOSING = value("XenbusStateClosing")
    CLOSED = value("XenbusStateClosed")
    RECONFIGURING = value("XenbusStateReconfiguring")
    RECONFIGURED = value("XenbusStateReconfigured")


class Local(StrEnum):
    """What happens on this side. The comment says at which end."""

    START = "start"  # both: this program takes charge of the device
    STOP = "stop"  # both: this program ends
    REMOVED = "removed"  # both: our directory has vanished from XenStore
    ERROR = "error"  # both: an unrecoverable error; at the backend: the guest broke the protocol
    TIMER = "timer"  # both: what ARM_TIMER armed
    OFFLINE = "offline"  # backend: the toolstack wants the device gone (online = 0)
    GONE = "gone"  # backend: the frontend's process or domain has died
    CONNECT_FAILED = "connect failed"  # backend: the frontend's references are stale
    CHANGED = "changed"  # backend: COMPARE found other rings than those in use


class Action(StrEnum):
    """What a cell asks for. The comment says at which end."""

    READ_CONFIG = "read config"  # frontend: features, the card
    PUBLISH = "publish"  # frontend: allocate rings and event channels, write them
    ATTACH = "attach"  # frontend: the streams go on the rings; nodes appear, or go on
    DETACH = "detach"  # frontend: off the rings and free them; nodes stay, silent; idempotent
    UNREGISTER = "unregister"  # frontend: the nodes disappear
    OFFER = "offer"  # backend: write versions and features
    CONNECT = "connect"  # backend: read config and transport, map the rings, answer requests
    COMPARE = "compare"  # backend: read the transport again; feed CHANGED if it differs
    DISCONNECT = "disconnect"  # backend: off the rings, unmap them, free the host's streams
    LOOK = "look"  # both: read the other end's state again and feed it
    ARM_TIMER = "arm timer"  # both: feed TIMER in a while
    ANNOUNCE = "announce"  # both: write the state although it does not change
    FINISH = "finish"  # both: forget the device; no more events


@dataclass(frozen=True, slots=True)
class Step:
    """A cell: carry out `actions`, then be in state `next`."""

    actions: tuple[Action, ...]
    next: XenbusState


class Refusal(Enum):
    """A cell without a step."""

    VIOLATION = "the peer broke the protocol"
    BUG = "cannot happen"


Event: TypeAlias = XenbusState | Local
Cell: TypeAlias = Step | Refusal
Table: TypeAlias = Mapping[XenbusState, Mapping[Event, Cell]]

_FRONTEND_LOCAL = (Local.START, Local.STOP, Local.REMOVED, Local.ERROR, Local.TIMER)
_BACKEND_LOCAL = (
    Local.START,
    Local.STOP,
    Local.REMOVED,
    Local.ERROR,
    Local.TIMER,
    Local.OFFLINE,
    Local.GONE,
    Local.CONNECT_FAILED,
    Local.CHANGED,
)
FRONTEND_EVENTS: tuple[Event, ...] = (*XenbusState, *_FRONTEND_LOCAL)
BACKEND_EVENTS: tuple[Event, ...] = (*XenbusState, *_BACKEND_LOCAL)

_UNKNOWN = XenbusState.UNKNOWN
_INITIALISING = XenbusState.INITIALISING
_INIT_WAIT = XenbusState.INIT_WAIT
_INITIALISED = XenbusState.INITIALISED
_CONNECTED = XenbusState.CONNECTED
_CLOSING = XenbusState.CLOSING
_CLOSED = XenbusState.CLOSED
_RECONFIGURING = XenbusState.RECONFIGURING
_RECONFIGURED = XenbusState.RECONFIGURED


def _to(state: XenbusState, *actions: Action) -> Step:
    return Step(actions, state)


def _row(
    events: tuple[Event, ...], own: XenbusState, *cells: tuple[Cell, tuple[Event, ...]]
) -> tuple[XenbusState, Mapping[Event, Cell]]:
    """One row of a table; each event must stand in it exactly once."""
    row: dict[Event, Cell] = {}
    for cell, listed in cells:
        for event in listed:
            if event in row or event not in events:
                raise LocalProtocolError(f"{own.name} x {event.name} is no cell, or is one twice")
            row[event] = cell
    if missing := [event.name for event in events if event not in row]:
        raise LocalProtocolError(f"{own.name} has no cells for {', '.join(missing)}")
    return own, row


def step(table: Table, own: XenbusState, event: Event) -> Step:
    """The cell of `table` for `event` in state `own`.

    PeerProtocolError: the other end went where it must not. LocalProtocolError: our bug.
    """
    cell = table.get(own, {}).get(event, Refusal.BUG)
    if isinstance(cell, Step):
        return cell
    if cell is Refusal.VIOLATION:
        raise PeerProtocolError(f"the other end went to {event.name} while we are {own.name}")
    raise LocalProtocolError(f"no cell for {event.name} in state {own.name}")


def parse_state(text: str | None) -> XenbusState:
    """The content of a state node; a missing or empty one is UNKNOWN."""
    if not text:
        return XenbusState.UNKNOWN
    if text.isascii() and text.isdecimal() and len(text) == 1 and int(text) in set(XenbusState):
        return XenbusState(int(text))
    raise PeerProtocolError(f"{quote(text, 32)} is no xenbus state")


def is_offline(online: str | None) -> bool:
    """Whether the toolstack wants the backend gone, by the content of the `online` node.

    libxl writes online=0 and state=5 together and then waits 10 s for state 6; the 5 may be
    overwritten by a step under way, the 0 stays.
    """
    return online == "0"


def render(table: Table) -> str:
    """`table` as text: a line for each cell that does something, grouped by own state."""
    lines = []
    for own, row in table.items():
        lines.append(own.name)
        quiet = [event.name for event, cell in row.items() if cell == Step((), own)]
        for event, cell in row.items():
            if event.name in quiet or cell is Refusal.BUG:
                continue
            if isinstance(cell, Step):
                doing = ", ".join(cell.actions) or "-"
                lines.append(f"    {event.name:<15} {doing} -> {cell.next.name}")
            else:
                lines.append(f"    {event.name:<15} protocol violation")
        lines.append(f"    ignored: {', '.join(quiet) or '-'}")
    return "\n".join(lines) + "\n"


# --- the frontend ---------------------------------------------------------------------------------
#
# A lost backend costs the rings and never the node: applications keep playing into a silent sink
# until the backend is back. So an error leads to Initialising at once, as in Linux's frontend
# (snd_be ignores Reconfiguring). Reconfiguring, which sndif.h has for rings that cannot be freed
# yet, is never ours: detaching waits until they can be. A frontend that uses it is understood.

_FORGET = (Action.UNREGISTER, Action.FINISH)
_LOSE = (Action.DETACH, Action.UNREGISTER, Action.FINISH)
_CONNECT_AGAIN = (Action.DETACH, Action.READ_CONFIG, Action.PUBLISH)

FRONTEND: Table = dict(
    _row(FRONTEND_EVENTS, own, *cells)
    for own, cells in {
        _UNKNOWN: (
            (_to(_INITIALISING), (Local.START,)),
            (_to(_UNKNOWN, Action.FINISH), (Local.STOP, Local.REMOVED)),
            (_to(_UNKNOWN), (*XenbusState, Local.ERROR, Local.TIMER)),
        ),
        _INITIALISING: (
            (_to(_INITIALISED, Action.READ_CONFIG, Action.PUBLISH), (_INIT_WAIT,)),
            # Connected: it is our killed predecessor's; our Initialising makes the backend let go.
            (_to(_INITIALISING), (_UNKNOWN, _INITIALISING, _INITIALISED, _CONNECTED)),
            (_to(_INITIALISING), (_CLOSING, _CLOSED, _RECONFIGURING, _RECONFIGURED)),
            # After an error of ours the backend may wait in InitWait and see no reason to say so
            # again: try again after a while. ERROR here: reading or publishing has failed.
            (_to(_INITIALISING, Action.ARM_TIMER), (Local.ERROR,)),
            (_to(_INITIALISING, Action.LOOK), (Local.TIMER,)),
            (_to(_CLOSED, *_FORGET), (Local.STOP,)),
            (_to(_UNKNOWN, *_FORGET), (Local.REMOVED,)),
            (Refusal.BUG, (Local.START,)),
        ),
        _INITIALISED: (
            (_to(_CONNECTED, Action.ATTACH), (_CONNECTED,)),
            # The backend could not use our references, or was restarted: new ones.
            (_to(_INITIALISED, *_CONNECT_AGAIN, Action.ANNOUNCE), (_INIT_WAIT,)),
            (_to(_INITIALISING, Action.DETACH), (_UNKNOWN, _INITIALISING, _CLOSED)),
            (_to(_INITIALISING, Action.DETACH, Action.ARM_TIMER), (Local.ERROR,)),
            (_to(_CLOSED, Action.DETACH), (_CLOSING,)),
            (_to(_INITIALISED), (_INITIALISED, _RECONFIGURING, _RECONFIGURED)),
            (_to(_INITIALISED), (Local.TIMER,)),
            (
                _to(_CLOSING, Action.DETACH, Action.UNREGISTER, Action.ARM_TIMER),
                (Local.STOP,),
            ),
            (_to(_UNKNOWN, *_LOSE), (Local.REMOVED,)),
            (Refusal.BUG, (Local.START,)),
        ),
        _CONNECTED: (
            # A backend that died and came back: the nodes stay, the rings are new.
            (_to(_INITIALISED, *_CONNECT_AGAIN), (_INIT_WAIT,)),
            (_to(_INITIALISING, Action.DETACH), (_UNKNOWN, _INITIALISING, _CLOSED)),
            (_to(_INITIALISING, Action.DETACH, Action.ARM_TIMER), (Local.ERROR,)),
            (_to(_CLOSED, Action.DETACH), (_CLOSING,)),
            (_to(_CONNECTED), (_INITIALISED, _CONNECTED, _RECONFIGURING, _RECONFIGURED)),
            (_to(_CONNECTED), (Local.TIMER,)),
            (
                _to(_CLOSING, Action.DETACH, Action.UNREGISTER, Action.ARM_TIMER),
                (Local.STOP,),
            ),
            (_to(_UNKNOWN, *_LOSE), (Local.REMOVED,)),
            (Refusal.BUG, (Local.START,)),
        ),
        _CLOSING: (
            # We asked to close. InitWait is what libxenbe answers with.
            (_to(_CLOSED, Action.FINISH), (_UNKNOWN, _INITIALISING, _INIT_WAIT)),
            (_to(_CLOSED, Action.FINISH), (_CLOSING, _CLOSED, Local.TIMER)),
            (_to(_CLOSING), (_INITIALISED, _CONNECTED, _RECONFIGURING, _RECONFIGURED)),
            (_to(_CLOSING), (Local.STOP, Local.ERROR)),
            (_to(_UNKNOWN, Action.FINISH), (Local.REMOVED,)),
            (Refusal.BUG, (Local.START,)),
        ),
        _CLOSED: (
            # The backend closed the device. It may be unplugged next, or be offered anew.
            (_to(_INITIALISED, Action.READ_CONFIG, Action.PUBLISH), (_INIT_WAIT,)),
            # libxenbe leaves Closed only for a frontend that is Initialising.
            (_to(_INITIALISING), (_INITIALISING, _CLOSED)),
            (_to(_CLOSED), (_UNKNOWN, _INITIALISED, _CONNECTED, _CLOSING)),
            (_to(_CLOSED), (_RECONFIGURING, _RECONFIGURED)),
            (_to(_CLOSED), (Local.ERROR, Local.TIMER)),
            (_to(_CLOSED, *_FORGET), (Local.STOP,)),
            (_to(_UNKNOWN, *_FORGET), (Local.REMOVED,)),
            (Refusal.BUG, (Local.START,)),
        ),
    }.items()
)

# --- the backend ----------------------------------------------------------------------------------
#
# START leads to InitWait without waiting for anything: xl destroys a guest whose backend is not
# there within some 40 s, and a frontend that unbinds waits 1 s. ERROR leads to Closed, "as if
# frontend goes into the XenbusStateClosed state" (Recovery flow), and costs that guest this device.

_DROP = (Action.DISCONNECT, Action.FINISH)

BACKEND: Table = dict(
    _row(BACKEND_EVENTS, own, *cells)
    for own, cells in {
        _UNKNOWN: (
            (_to(_INIT_WAIT, Action.OFFER), (Local.START, Local.TIMER)),
            (_to(_UNKNOWN, Action.FINISH), (Local.STOP, Local.REMOVED)),
            (_to(_CLOSED, Action.FINISH), (Local.OFFLINE,)),
            # The store could not be written: the guest waits for our offer.
            (_to(_UNKNOWN, Action.ARM_TIMER), (Local.ERROR,)),
            (_to(_UNKNOWN), (*XenbusState, Local.GONE)),
            (_to(_UNKNOWN), (Local.CONNECT_FAILED, Local.CHANGED)),
        ),
        _INIT_WAIT: (
            (_to(_CONNECTED, Action.CONNECT), (_INITIALISED,)),
            # Connected: to our dead predecessor; it has seen, or will see, our InitWait.
            (_to(_INIT_WAIT), (_UNKNOWN, _INITIALISING, _CONNECTED, _CLOSED)),
            (_to(_INIT_WAIT), (_RECONFIGURING, _RECONFIGURED, Local.GONE, Local.CHANGED)),
            (_to(_CLOSING, Action.ARM_TIMER), (_CLOSING,)),
            (Refusal.VIOLATION, (_INIT_WAIT,)),
            # Linux publishes twice around its probe, the first time with references that are stale
            # by now: wait for the next state event, and ask for one if none comes. A Linux that is
            # Initialised already publishes again but does not write its state: look.
            (_to(_INIT_WAIT, Action.ARM_TIMER), (Local.CONNECT_FAILED,)),
            (_to(_INIT_WAIT, Action.ANNOUNCE, Action.LOOK), (Local.TIMER,)),
            (_to(_CLOSED, Action.ARM_TIMER), (Local.ERROR,)),
            (_to(_CLOSED, Action.FINISH), (Local.STOP, Local.OFFLINE)),
            (_to(_UNKNOWN, Action.FINISH), (Local.REMOVED,)),
            (Refusal.BUG, (Local.START,)),
        ),
        _CONNECTED: (
            # A frontend that restarts (also after kill -9), vanishes, or cannot go on.
            (_to(_INIT_WAIT, Action.DISCONNECT), (_UNKNOWN, _INITIALISING, _CLOSED)),
            (_to(_INIT_WAIT, Action.DISCONNECT), (_RECONFIGURING,)),
            # We may have missed a state in between (3 -> 1 -> 3).
            (_to(_CONNECTED, Action.COMPARE), (_INITIALISED, _CONNECTED)),
            (
                _to(_CONNECTED, Action.DISCONNECT, Action.CONNECT, Action.ANNOUNCE),
                (Local.CHANGED,),
            ),
            (
                _to(_INIT_WAIT, Action.DISCONNECT, Action.ARM_TIMER),
                (Local.GONE, Local.CONNECT_FAILED),
            ),
            (_to(_CLOSING, Action.DISCONNECT, Action.ARM_TIMER), (_CLOSING,)),
            (Refusal.VIOLATION, (_INIT_WAIT,)),
            (_to(_CONNECTED), (_RECONFIGURED, Local.TIMER)),
            (_to(_CLOSED, Action.DISCONNECT, Action.ARM_TIMER), (Local.ERROR,)),
            (_to(_CLOSED, *_DROP), (Local.STOP, Local.OFFLINE)),
            (_to(_UNKNOWN, *_DROP), (Local.REMOVED,)),
            (Refusal.BUG, (Local.START,)),
        ),
        _CLOSING: (
            (_to(_INIT_WAIT), (_INITIALISING, _CLOSED, Local.TIMER)),
            (_to(_CLOSING), (_UNKNOWN, _INIT_WAIT, _INITIALISED, _CONNECTED, _CLOSING)),
            (_to(_CLOSING), (_RECONFIGURING, _RECONFIGURED, Local.ERROR, Local.GONE)),
            (_to(_CLOSING), (Local.CONNECT_FAILED, Local.CHANGED)),
            (_to(_CLOSED, Action.FINISH), (Local.STOP, Local.OFFLINE)),
            (_to(_UNKNOWN, Action.FINISH), (Local.REMOVED,)),
            (Refusal.BUG, (Local.START,)),
        ),
        _CLOSED: (
            # After an error: another chance, when we choose, not when the guest does.
            # A Linux that was not looking meanwhile publishes again without a word: look later.
            (_to(_INIT_WAIT, Action.OFFER, Action.ARM_TIMER), (Local.TIMER,)),
            (_to(_CLOSED), (*XenbusState, Local.ERROR, Local.GONE)),
            (_to(_CLOSED), (Local.CONNECT_FAILED, Local.CHANGED)),
            (_to(_CLOSED, Action.FINISH), (Local.STOP, Local.OFFLINE)),
            (_to(_UNKNOWN, Action.FINISH), (Local.REMOVED,)),
            (Refusal.BUG, (Local.START,)),
        ),
    }.items()
)
