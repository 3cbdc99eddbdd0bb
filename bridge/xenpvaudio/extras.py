"""What only the measuring commands need, and how they say that it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import UnavailableError


def require(*modules: str) -> None:
    """UnavailableError unless all of them (of the extra `measure`) can be imported."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"{' and '.join(missing)} cannot be imported here",
            hint="pip install xen-pv-audio[measure]",
        )
