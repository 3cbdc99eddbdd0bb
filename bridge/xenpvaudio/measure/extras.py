"""What only the measuring commands need, and how they say that it is missing."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from xenpvaudio.errors import ConfigError, UnavailableError

_PICTURES = (".png", ".svg", ".pdf")


def require(*modules: str) -> None:
    """UnavailableError unless all of them (of the extra `measure`) can be imported."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"{' and '.join(missing)} cannot be imported here",
            hint="pip install xen-pv-audio[measure]",
        )


def require_picture(path: Path | None) -> None:
    """Before minutes of measuring: UnavailableError or ConfigError if `path` cannot be drawn to."""
    if path is None:
        return
    require("matplotlib")
    if path.suffix not in _PICTURES:
        raise ConfigError(
            f'--plot: "{path}" is no name of a picture', hint=f"end it with {', '.join(_PICTURES)}"
        )
    if not path.parent.is_dir():
        raise ConfigError(f'--plot: no directory "{path.parent}"', hint="make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f'--plot: no permission to write "{path}"', hint="choose another place")
