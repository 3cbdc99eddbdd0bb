"""Xen's public header <xen/io/sndif.h>, as the compiler saw it: values, strings, sizes, offsets.

The one place where numbers and layouts of the protocol come from. What can be asked for is listed
in pw_module/src/abi/sndif.cdef, without any value; the C compiler filled in each of them when the
extension was built. A name that is not listed there raises LookupError: a bug here, never a user's
mistake.
"""

from __future__ import annotations

from . import ffi, lib

# "struct" is how C spells it; the callers name the struct alone.
_STRUCT = "struct "


def _constant(name: str) -> object:
    try:
        return getattr(lib, name)
    except AttributeError:
        raise LookupError(f"{name} is not declared in abi/sndif.cdef") from None


def value(name: str) -> int:
    """The integer macro or constant `name`, for example XENSND_OP_OPEN."""
    found = _constant(name)
    if not isinstance(found, int):
        raise LookupError(f"{name} is not an integer")
    return found


def text(name: str) -> str:
    """The string macro `name`, for example XENSND_FIELD_RING_REF."""
    found = _constant(name)
    if isinstance(found, int):
        raise LookupError(f"{name} is not a string")
    content: bytes = ffi.string(found)
    return content.decode("ascii")


def _struct(name: str) -> object:
    try:
        return ffi.typeof(_STRUCT + name)
    except ffi.error:
        raise LookupError(f"struct {name} is not declared in abi/sndif.cdef") from None


def sizeof(struct: str) -> int:
    """The bytes that `struct` takes, for example sizeof("xensnd_req")."""
    size: int = ffi.sizeof(_struct(struct))
    return size


def offset(struct: str, field: str) -> int:
    """Where `field` begins in `struct`, in bytes; dots go into members: "op.open.buffer_sz"."""
    try:
        place: int = ffi.offsetof(_struct(struct), *field.split("."))
    except (KeyError, TypeError):
        raise LookupError(f"struct {struct} has no field {field} in abi/sndif.cdef") from None
    return place


def size(struct: str, field: str) -> int:
    """The bytes that `field` of `struct` takes; dots go into members."""
    kind = _struct(struct)
    for part in field.split("."):
        members = dict(getattr(kind, "fields", None) or ())
        if part not in members:
            raise LookupError(f"struct {struct} has no field {field} in abi/sndif.cdef")
        kind = members[part].type
    size_bytes: int = ffi.sizeof(kind)
    return size_bytes
