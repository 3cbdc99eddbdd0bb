"""The XenStore helper's unit, started by a systemd of root's, on a socket as xenstored makes it.

    python -m interop.units.helper GROUP      GROUP: in place of xen-audio

Run by place.py; prints what became of the socket and its folder.
"""

from __future__ import annotations

import json
import socket
import stat
import sys
from pathlib import Path

from interop.units.session import RUNTIME, UNITS, Manager, systemctl

NAME = "xen-pv-audio-xenstore.service"
SOURCE = Path(__file__).resolve().parents[3] / "packaging" / "systemd" / "system" / NAME
FOLDER = Path("/run/xenstored")


def main() -> int:
    (group,) = sys.argv[1:]
    FOLDER.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as server, Manager():
        path = FOLDER / "socket"
        server.bind(str(path))
        path.chmod(0o600)
        (UNITS / NAME).write_text(SOURCE.read_text().replace("chgrp xen-audio", f"chgrp {group}"))
        systemctl("start", NAME)
        found = {str(thing): thing.stat() for thing in (FOLDER, path)}
    print((RUNTIME / "systemd.log").read_text(), file=sys.stderr)
    told = {name: [s.st_uid, s.st_gid, stat.filemode(s.st_mode)] for name, s in found.items()}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
