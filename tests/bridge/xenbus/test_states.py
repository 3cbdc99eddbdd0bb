"""states.py: every cell of both tables, and the two tables run against each other.

A cell below is the actions' letters, ">" and the number of the next state as in <xen/io/xenbus.h>.
"." is ignored: no action, no change. "!" is the peer's protocol error, "#" cannot happen.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xenpvaudio.errors import LocalProtocolError, PeerProtocolError
from xenpvaudio.xenbus import states as xenbus
from xenpvaudio.xenbus.states import (
    BACKEND,
    FRONTEND,
    Action,
    Event,
    Local,
    Step,
    Table,
    XenbusState,
)
from xenpvaudio.xenbus.versions import OFFERED_VERSIONS, check_version, choose_version

XENBUS_H = Path("/usr/include/xen/io/xenbus.h").read_text()

LETTERS = {
    "R": Action.READ_CONFIG,
    "P": Action.PUBLISH,
    "A": Action.ATTACH,
    "D": Action.DETACH,
    "L": Action.LOOK,
    "U": Action.UNREGISTER,
    "O": Action.OFFER,
    "C": Action.CONNECT,
    "M": Action.COMPARE,
    "X": Action.DISCONNECT,
    "T": Action.ARM_TIMER,
    "N": Action.ANNOUNCE,
    "F": Action.FINISH,
}

FRONTEND_CELLS = """
                UNKNOWN INITIALISING INITIALISED CONNECTED CLOSING CLOSED
UNKNOWN         .       .            D>1         D>1       F>6     .
INITIALISING    .       .            D>1         D>1       F>6     >1
INIT_WAIT       .       RP>3         DRPN>3      DRP>3     F>6     RP>3
INITIALISED     .       .            .           .         .       .
CONNECTED       .       .            A>4         .         .       .
CLOSING         .       .            D>6         D>6       F>6     .
CLOSED          .       .            D>1         D>1       F>6     >1
RECONFIGURING   .       .            .           .         .       .
RECONFIGURED    .       .            .           .         .       .
START           >1      #            #           #         #       #
STOP            F>0     UF>6         DUT>5       DUT>5     .       UF>6
REMOVED         F>0     UF>0         DUF>0       DUF>0     F>0     UF>0
ERROR           .       T>1          DT>1        DT>1      .       .
TIMER           .       L>1          .           .         F>6     .
OFFLINE         #       #            #           #         #       #
GONE            #       #            #           #         #       #
CONNECT_FAILED  #       #            #           #         #       #
CHANGED         #       #            #           #         #       #
"""

BACKEND_CELLS = """
                UNKNOWN INIT_WAIT CONNECTED CLOSING CLOSED
UNKNOWN         .       .         X>2       .       .
INITIALISING    .       .         X>2       >2      .
INIT_WAIT       .       !         !         .       .
INITIALISED     .       C>4       M>4       .       .
CONNECTED       .       .         M>4       .       .
CLOSING         .       T>5       XT>5      .       .
CLOSED          .       .         X>2       >2      .
RECONFIGURING   .       .         X>2       .       .
RECONFIGURED    .       .         .         .       .
START           O>2     #         #         #       #
STOP            F>0     F>6       XF>6      F>6     F>6
REMOVED         F>0     F>0       XF>0      F>0     F>0
ERROR           T>0     T>6       XT>6      .       .
TIMER           O>2     NL>2      .         >2      OT>2
OFFLINE         F>6     F>6       XF>6      F>6     F>6
GONE            .       .         XT>2      .       .
CONNECT_FAILED  .       T>2       XT>2      .       .
CHANGED         .       .         XCN>4     .       .
"""

FRONTEND_NEVER = (
    XenbusState.INIT_WAIT,
    XenbusState.RECONFIGURING,
    XenbusState.RECONFIGURED,
)
BACKEND_NEVER = (
    XenbusState.INITIALISING,
    XenbusState.INITIALISED,
    XenbusState.RECONFIGURING,
    XenbusState.RECONFIGURED,
)


def event_named(name: str) -> Event:
    """States and local events have no name in common."""
    return XenbusState[name] if name in XenbusState.__members__ else Local[name]


def read_cells(text: str) -> dict[tuple[XenbusState, Event], str]:
    head, *lines = text.strip().splitlines()
    states = [XenbusState[name] for name in head.split()]
    cells = {}
    for line in lines:
        name, *row = line.split()
        assert len(row) == len(states), line
        for own, cell in zip(states, row, strict=True):
            cells[own, event_named(name)] = cell
    return cells


EVERY_CELL = [
    pytest.param(table, own, event, cell, id=f"{end}-{own.name}-{event.name}")
    for end, table, text in (("front", FRONTEND, FRONTEND_CELLS), ("back", BACKEND, BACKEND_CELLS))
    for (own, event), cell in read_cells(text).items()
]


@pytest.mark.parametrize(("table", "own", "event", "cell"), EVERY_CELL)
def test_cell(table: Table, own: XenbusState, event: Event, cell: str) -> None:
    if cell == "!":
        with pytest.raises(PeerProtocolError, match=event.name):
            xenbus.step(table, own, event)
    elif cell == "#":
        with pytest.raises(LocalProtocolError, match=event.name):
            xenbus.step(table, own, event)
    elif cell == ".":
        assert xenbus.step(table, own, event) == Step((), own)
    else:
        letters, number = cell.split(">")
        expected = Step(tuple(LETTERS[letter] for letter in letters), XenbusState(int(number)))
        assert xenbus.step(table, own, event) == expected


def test_the_expected_tables_leave_out_no_cell() -> None:
    every = {*XenbusState, *Local}
    for text, never in ((FRONTEND_CELLS, FRONTEND_NEVER), (BACKEND_CELLS, BACKEND_NEVER)):
        owns = set(XenbusState) - set(never)
        assert set(read_cells(text)) == {(own, event) for own in owns for event in every}


@pytest.mark.parametrize("event", [*XenbusState, *Local], ids=lambda event: event.name)
def test_own_states_that_an_end_never_has_are_our_bug(event: Event) -> None:
    for table, never in ((FRONTEND, FRONTEND_NEVER), (BACKEND, BACKEND_NEVER)):
        for own in never:
            with pytest.raises(LocalProtocolError):
                xenbus.step(table, own, event)


def test_no_step_leads_to_a_state_without_a_row() -> None:
    for table in (FRONTEND, BACKEND):
        for row in table.values():
            assert {cell.next for cell in row.values() if isinstance(cell, Step)} <= set(table)


# --- nodes ----------------------------------------------------------------------------------------


def test_states_are_the_headers() -> None:
    listed = re.findall(r"XenbusState(\w+)\s*= (\d)", XENBUS_H)
    header = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper(): int(n) for name, n in listed}
    assert {state.name: int(state) for state in XenbusState} == header


@pytest.mark.parametrize(("text", "state"), [("4", 4), ("0", 0), ("8", 8), (None, 0), ("", 0)])
def test_state_nodes_are_read(text: str | None, state: int) -> None:
    assert xenbus.parse_state(text) is XenbusState(state)


@pytest.mark.parametrize("text", ["9", "-1", "04", "4\n", "x", "٤", "4" * 5000])
def test_other_state_nodes_are_a_protocol_error(text: str) -> None:
    with pytest.raises(PeerProtocolError, match="is no xenbus state") as caught:
        xenbus.parse_state(text)
    assert len(str(caught.value)) < 200


def test_only_online_0_means_offline() -> None:
    assert xenbus.is_offline("0")
    assert not xenbus.is_offline("1")
    assert not xenbus.is_offline(None)


def test_missing_versions_means_version_2() -> None:
    """Neither libxl nor libxenbe nor snd_be writes `versions`, and Linux never writes `version`."""
    assert choose_version(None) == 2
    assert check_version(None) == 2


@pytest.mark.parametrize("versions", ["2", "1,2", "1,2,3", "3, 2"])
def test_version_2_is_chosen_from_what_is_offered(versions: str) -> None:
    assert choose_version(versions) == 2


def test_our_own_offer_is_accepted() -> None:
    assert choose_version(OFFERED_VERSIONS) == 2
    assert check_version("2") == 2


@pytest.mark.parametrize("versions", ["1", "3,4", "", "two", "2;1", "1,,2"])
def test_other_offers_are_a_protocol_error(versions: str) -> None:
    with pytest.raises(PeerProtocolError):
        choose_version(versions)


@pytest.mark.parametrize("version", ["1", "3", "", "x"])
def test_a_version_that_was_not_offered_is_a_protocol_error(version: str) -> None:
    with pytest.raises(PeerProtocolError):
        check_version(version)


def test_tables_can_be_drawn() -> None:
    drawn = xenbus.render(FRONTEND)
    assert "    INIT_WAIT       detach, read config, publish, announce -> INITIALISED\n" in drawn
    assert "    INIT_WAIT       protocol violation\n" in xenbus.render(BACKEND)
    assert drawn.count("ignored: ") == len(FRONTEND)
