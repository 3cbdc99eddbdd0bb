"""Names in the directory of a simulated hypervisor, and how its processes talk.

DIR/lock             held by the hypervisor
DIR/dom<n>/hv        hypercalls: SOCK_SEQPACKET, one JSON object each way, descriptors beside it
DIR/dom<n>/xenstore  XenStore's wire protocol: SOCK_STREAM
Who connects to dom<n>'s sockets is domain n.
"""

from __future__ import annotations

import os
import socket

from xenpvaudio.errors import ConfigError

SOCKET_PATH_BYTES = 107
"""sockaddr_un has room for 108, the last a NUL."""
MESSAGE_BYTES = 32768
MESSAGE_REFS = 128
"""References in one map call: as many descriptors may come back, and Linux passes 253."""

HYPERCALLS, XENSTORE = "hv", "xenstore"


class NoRoomError(Exception):
    """A message came without its descriptors; `data` is the rest of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


def domain_directory(directory: str, domid: int) -> str:
    return os.path.join(directory, f"dom{domid}")


def socket_path(directory: str, domid: int, name: str) -> str:
    """ConfigError if the directory's name is too long for sockets to be in it."""
    path = os.path.join(domain_directory(directory, domid), name)
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise ConfigError(
            f"{directory} is too long a name for a directory with sockets in it",
            hint="choose a shorter one, like /tmp/sim",
        )
    return path


def send_message(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    if fds:
        socket.send_fds(sock, [data], fds)
    else:
        sock.send(data)


def receive_message(sock: socket.socket) -> tuple[bytes, list[int]]:
    """b"" at the end of the connection; NoRoomError where the descriptors that came are more than
    this process may open."""
    data, fds, flags, _address = socket.recv_fds(sock, MESSAGE_BYTES, MESSAGE_REFS)
    if flags & socket.MSG_CTRUNC:  # the kernel has closed the others: recvmsg(2), unix(7)
        for fd in fds:
            os.close(fd)
        raise NoRoomError(data)
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds
