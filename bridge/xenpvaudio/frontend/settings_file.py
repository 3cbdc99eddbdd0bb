"""The frontend's settings as a file: TOML with the same keys as the command's options, which count
before it.

    quantum-frames = 256
    pulse-delay = true
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from xenpvaudio.config import FrontendSettings
from xenpvaudio.errors import ConfigError

FOR_ALL = Path("/etc/xen-pv-audio/frontend.toml")
_KEYS = {spec.name.replace("_", "-"): spec for spec in fields(FrontendSettings)}
_MOST = 10_000_000


def settings_path(environ: Mapping[str, str] = os.environ, for_all: Path | None = None) -> Path:
    """The user's own file if it is there, else the machine's."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    own = Path(home) / "xen-pv-audio" / FOR_ALL.name
    return own if os.path.lexists(own) else for_all or FOR_ALL


def load_settings(path: Path | None = None) -> FrontendSettings:
    """Without a path the default one, if it is there. ConfigError names file and key."""
    by_default = path is None
    path = path or settings_path()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        # One that is there and cannot be read, or a link to nothing, is not the same as none.
        if by_default and isinstance(error, FileNotFoundError) and not path.is_symlink():
            return FrontendSettings()
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    chosen = {_KEYS[key].name: value for key, value in content.items() if _right(path, key, value)}
    return replace(FrontendSettings(), **chosen)


def _right(path: Path, key: str, value: Any) -> bool:
    if key not in _KEYS:
        near = difflib.get_close_matches(key, _KEYS, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"{path}: {key} is unknown", hint=f"{meant}known are {', '.join(_KEYS)}")
    if isinstance(_KEYS[key].default, bool):
        if not isinstance(value, bool):
            raise ConfigError(f"{path}: {key} = {value!r}: is true or false")
        return True
    least = 0 if _KEYS[key].default == 0 else 1
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise ConfigError(f"{path}: {key} = {value!r}: is a whole number from {least} to {_MOST}")
    return True
