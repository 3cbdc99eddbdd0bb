"""Answers that XenStore's protocol does not know: each is one XenStoreError, and nothing else."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from xenpvaudio.xen.api import NotFoundError, XenStoreError
from xenpvaudio.xen.real.xenstore import PyxsStore
from xenpvaudio.xen.real.xs_link import Op

Answer = tuple[int, bytes]


class Scripted:
    """A link that gives each request the same answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def request(self, *_: object) -> Answer:
        return self._answer

    def terminate(self) -> None: ...


def store(answer: Answer, domid: int | None = 1) -> PyxsStore:
    class Store(PyxsStore):
        def _new_link(self) -> Any:
            return Scripted(answer)

    return Store(lambda: None, domid=domid)


# Names that Python's module errno has, and what no number says.
@pytest.mark.parametrize("name", [b"errorcode", b"__name__", b"__doc__", b"EWHAT", b"", b"\xff"])
def test_an_error_without_a_number_is_an_input_output_error(name: bytes) -> None:
    with pytest.raises(XenStoreError) as caught:
        store((Op.ERROR, name + b"\0")).read("x")
    assert caught.value.code == errno.EIO


def test_an_error_that_is_known_keeps_its_class() -> None:
    with pytest.raises(NotFoundError):
        store((Op.ERROR, b"ENOENT\0")).read("x")


@pytest.mark.parametrize("text", [b"", b"x", b"-1", b"4294967296", b"1" * 5000, b"\xd9\xa4"])
def test_what_is_no_number_of_a_transaction_or_a_domain_is_one_clear_error(text: bytes) -> None:
    with pytest.raises(XenStoreError, match="no number to start a transaction"):
        store((Op.TRANSACTION_START, text + b"\0")).transact(lambda tx: tx.get("x"))
    with pytest.raises(XenStoreError, match="no number to read domid"):
        store((Op.READ, text), domid=None)


def test_a_domain_that_is_told_is_believed() -> None:
    assert store((Op.READ, b"7"), domid=None).domid == 7
