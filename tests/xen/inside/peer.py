"""In a guest: the far end of scenarios/primitives.py, with the project's own access to Xen.

peer.py PAGES     grants pages and a port to dom0, tells them in XenStore (data/peer), answers
"""

from __future__ import annotations

import select
import struct
import sys
from pathlib import Path

from xenpvaudio.errors import XenPvAudioError
from xenpvaudio.xen.api import PAGE_BYTES
from xenpvaudio.xen.connect import real_domain

ALIVE_BYTE = 8
LIMIT = Path("/sys/module/xen_gntalloc/parameters/limit")


def main() -> None:
    pages = int(sys.argv[1])
    domain = real_domain(lambda function, *arguments: function(*arguments))
    grant = domain.grants.grant(0, pages)
    for page in range(pages):
        struct.pack_into("<I", grant.view, page * PAGE_BYTES, page + 1)
    channel = domain.channels.bind_unbound(0)
    grant.view[ALIVE_BYTE] = 1
    grant.set_unmap_notify(ALIVE_BYTE, channel.port)
    try:
        domain.grants.grant(0, int(LIMIT.read_text()))
        refused = "nothing"
    except XenPvAudioError as error:
        refused = f"{type(error).__name__}: {error}"
    domain.store.write("data/refused", refused)
    domain.store.write("data/peer", " ".join(map(str, (channel.port, *grant.refs))))
    poll = select.poll()
    poll.register(channel.fd, select.POLLIN)
    last = (pages - 1) * PAGE_BYTES + 4
    while True:
        poll.poll()
        if channel.ack():
            (number,) = struct.unpack_from("<I", grant.view, last)
            struct.pack_into("<I", grant.view, last + 4, number + 1)
            channel.notify()


if __name__ == "__main__":
    main()
