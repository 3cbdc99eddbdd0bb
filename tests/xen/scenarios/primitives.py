"""Grants, event channels and XenStore of the project between two real domains, without sound."""

from __future__ import annotations

import select
import struct
import time

from dom0 import Lab, expect
from guest import Guest

from xenpvaudio.errors import PeerGoneError
from xenpvaudio.xen.api import PAGE_BYTES, AccessError, Channel, Domain, Mapping
from xenpvaudio.xen.connect import real_domain

# As many references as one XenStore value (2048 bytes) holds.
PAGES = 300
ALIVE_BYTE = 8
PEER = "exec /opt/xen-pv-audio/bin/python3 /run/lab/inside/peer.py"


def run(lab: Lab) -> None:
    domain = real_domain(lambda function, *arguments: function(*arguments))
    with Guest() as guest:
        home = f"/local/domain/{guest.domid}"
        guest.must(
            f"( {PEER} {PAGES} ) > /tmp/peer.log 2>&1 & echo $! > /tmp/peer.pid; "
            "for i in $(seq 200); do xenstore-read data/peer > /tmp/peer && exit; sleep 0.5; done "
            "2> /dev/null; cat /tmp/peer.log; exit 1"
        )
        port, *refs = map(int, domain.store.read(f"{home}/data/peer").split())
        share(lab, domain, guest, port, refs)
        store(lab, domain, guest)
    domain.close()


def share(lab: Lab, domain: Domain, guest: Guest, port: int, refs: list[int]) -> None:
    assert guest.domid is not None
    domid = guest.domid
    with lab.scenario("xen.grant_limit_is_told") as figures:
        refused = domain.store.read(f"/local/domain/{domid}/data/refused")
        expect(refused.startswith("GrantLimitError"), refused)
        figures.append(refused)
    with lab.scenario("xen.pages_map_in_order") as figures:
        started = time.monotonic()
        mapping = domain.grants.map(domid, refs)
        figures.append(f"{PAGES} pages mapped in {(time.monotonic() - started) * 1e3:.0f} ms")
        numbers = [struct.unpack_from("<I", mapping.view, page * PAGE_BYTES)[0]
                   for page in range(PAGES)]  # fmt: skip
        expect(numbers == list(range(1, PAGES + 1)), "pages out of order")
    with lab.scenario("xen.events_go_both_ways") as figures:
        channel = domain.channels.bind_interdomain(domid, port)
        channel.ack()
        last = (PAGES - 1) * PAGE_BYTES + 4
        started = time.monotonic()
        for number in range(100, 200):
            struct.pack_into("<I", mapping.view, last, number)
            channel.notify()
            while struct.unpack_from("<I", mapping.view, last + 4)[0] != number + 1:
                expect(readable(channel, 5), "no event within 5 s")
                channel.ack()
        took = time.monotonic() - started
        figures.append(f"100 round trips, {took * 10:.1f} ms each")
    with lab.scenario("xen.what_is_not_offered_is_a_gone_peer") as figures:
        for what, attempt in (
            ("a port in use", lambda: domain.channels.bind_interdomain(domid, port)),
            ("a port never offered", lambda: domain.channels.bind_interdomain(domid, 900)),
            ("a port of no domain", lambda: domain.channels.bind_interdomain(999, 1)),
            ("a reference never granted", lambda: domain.grants.map(domid, [refs[-1] + 500])),
            ("a reference past the table", lambda: domain.grants.map(domid, [1 << 31])),
            ("a reference of no domain", lambda: domain.grants.map(999, [9])),
            ("one bad reference of many", lambda: domain.grants.map(domid, [*refs[:5], 1 << 30])),
        ):
            try:
                attempt()
            except PeerGoneError as error:
                print(f"  {what}: {error}", flush=True)
            else:
                expect(False, f"{what}: no error")
        figures.append("7 kinds")
    with lab.scenario("xen.killed_peer_is_noticed") as figures:
        figures.append(killed_peer(guest, channel, mapping))
        mapping.close()
        channel.close()
        domain.grants.assert_cleaned_up()
        domain.channels.assert_cleaned_up()


def killed_peer(guest: Guest, channel: Channel, mapping: Mapping) -> str:
    expect(mapping.view[ALIVE_BYTE] == 1, "the alive byte was never set")
    ident = guest.console.start("kill -9 $(cat /tmp/peer.pid)")
    started = time.monotonic()
    while mapping.view[ALIVE_BYTE]:
        expect(time.monotonic() - started < 5, "the byte is still set after 5 s")
        if readable(channel, 0.5):
            channel.ack()
    took = time.monotonic() - started
    guest.console.result(ident, 60)
    first = struct.unpack_from("<I", mapping.view, 0)[0]
    channel.notify()  # no error, though nobody is there
    return f"byte cleared {took * 1e3:.0f} ms after the order, page still reads {first}"


def readable(channel: Channel, timeout_sec: float) -> bool:
    return bool(select.select([channel.fd], [], [], timeout_sec)[0])


def store(lab: Lab, domain: Domain, guest: Guest) -> None:
    with lab.scenario("xen.store_in_a_guest") as figures:
        script = (
            "from xenpvaudio.xen.connect import real_domain; import time\n"
            "d = real_domain(lambda f, *a: f(*a)); s = d.store; seen = []\n"
            "w = s.watch('data/x', seen.append); s.write('data/x/y', 'äöü'); time.sleep(0.5)\n"
            "def both(t):\n    t.write('data/x/a', '1'); t.write('data/x/b', '2')\n"
            "s.transact(both); time.sleep(0.5); w.cancel()\n"
            "try:\n    s.write('/local/domain/0/name', 'x'); word = 'allowed'\n"
            "except Exception as e:\n    word = type(e).__name__\n"
            "print(d.domid, sorted(s.list('data/x')), seen, word, s.read('data/x/y'))\n"
        )
        said = guest.must(f"/opt/xen-pv-audio/bin/python3 - <<'END'\n{script}END").strip()
        expected = (
            f"{guest.domid} ['a', 'b', 'y'] ['data/x', 'data/x/y', 'data/x/a', 'data/x/b'] "
            f"{AccessError.__name__} äöü"
        )
        expect(said == expected, f"said {said}, not {expected}")
        name = domain.store.read(f"/local/domain/{guest.domid}/name")
        figures.append(f"watches, a transaction, {AccessError.__name__} elsewhere, name {name}")
