"""The operations of XenStore's wire protocol, as calls: arguments to bytes, answers to values.

Over one link and one transaction, with errors as classes. Called from the control plane's thread
(and for watches, after a reconnection, from the link's).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from xenpvaudio.xen.api import ConflictError, Names, NotFoundError, XenStoreError, store_error

from .xs_link import DIRECTORY_PART, PAYLOAD_MAX_BYTES, Link, Op


def path_bytes(path: str) -> bytes:
    if not path or "\0" in path:
        raise store_error(errno.EINVAL, f"use the path {path!r}")
    return path.encode("utf-8", "surrogateescape") + b"\0"


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def number(data: bytes, what: str) -> int:
    """A number of 32 bits, as XenStore says a transaction's or a domain's."""
    digits = data.rstrip(b"\0")
    if digits.isdigit() and len(digits) <= 10 and int(digits) < 1 << 32:
        return int(digits)
    raise XenStoreError(f"XenStore answered no number to {what}", code=errno.EPROTO)


def _code(answer: bytes) -> int:
    """The errno that an ERROR names (xs_wire.h, xsd_errors)."""
    name = answer.rstrip(b"\0").decode("ascii", "replace")
    code = vars(errno).get(name)  # which also holds what is no errno
    return code if isinstance(code, int) else errno.EIO


class Requests:
    """The operations, over one link and one transaction (0: none)."""

    def __init__(self, link: Link, tx_id: int, timeout_sec: float) -> None:
        self._link = link
        self._tx_id = tx_id
        self._timeout_sec = timeout_sec

    def ask(self, op: int, what: str, body: bytes) -> bytes:
        if len(body) > PAYLOAD_MAX_BYTES:
            raise store_error(errno.E2BIG, what)
        kind, answer = self._link.request(op, body, self._tx_id, self._timeout_sec)
        if kind == Op.ERROR:
            raise store_error(_code(answer), what)
        if kind != op:
            raise XenStoreError(f"XenStore answered type {kind} to {what}", code=errno.EPROTO)
        return bytes(answer)

    def read(self, path: str) -> str:
        return text(self.ask(Op.READ, f"read {path}", path_bytes(path)))

    def get(self, path: str, default: str | None = None) -> str | None:
        try:
            return self.read(path)
        except NotFoundError:
            return default

    def write(self, path: str, value: str) -> None:
        body = path_bytes(path) + value.encode("utf-8", "surrogateescape")
        self.ask(Op.WRITE, f"write {path}", body)

    def mkdir(self, path: str) -> None:
        self.ask(Op.MKDIR, f"make {path}", path_bytes(path))

    def remove(self, path: str) -> None:
        self.ask(Op.RM, f"remove {path}", path_bytes(path))

    def exists(self, path: str) -> bool:
        try:
            self.ask(Op.READ, f"look for {path}", path_bytes(path))
        except NotFoundError:
            return False
        return True

    def list(self, path: str) -> Names:
        what, body = f"list {path}", path_bytes(path)
        try:
            data = self.ask(Op.DIRECTORY, what, body)
        except XenStoreError as error:
            if error.code != errno.E2BIG:
                raise
            data = self._list_in_parts(what, body)
        return [text(name) for name in data.split(b"\0") if name]

    def get_perms(self, path: str) -> Names:
        data = self.ask(Op.GET_PERMS, f"read the permissions of {path}", path_bytes(path))
        return [text(perm) for perm in data.split(b"\0") if perm]

    def set_perms(self, path: str, perms: Sequence[str]) -> None:
        body = path_bytes(path) + b"".join(path_bytes(perm) for perm in perms)
        self.ask(Op.SET_PERMS, f"set the permissions of {path}", body)

    def _list_in_parts(self, what: str, path: bytes) -> bytes:
        """For more than one message of names: parts from an offset on, each with the directory's
        generation; a part of another generation means to start again (docs/misc/xenstore.txt)."""
        generation, names = b"", b""
        for _ in range(10_000):
            part = self.ask(DIRECTORY_PART, what, path + b"%d\0" % len(names))
            now, _, rest = part.partition(b"\0")
            if names and now != generation:
                names = b""
                continue
            generation = now
            if rest == b"\0" or rest.endswith(b"\0\0"):  # an empty name: this was the last part
                return names + rest[:-1]
            names += rest
        raise ConflictError(f"XenStore: cannot {what}: it changes all the time")
