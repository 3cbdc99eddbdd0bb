"""The frontend's settings as a file: TOML with the same keys as the command's options, which count
before it.

    quantum-frames = 256
    pulse-delay = true
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from xenpvaudio.config import SERVED, FrontendSettings
from xenpvaudio.errors import ConfigError
from xenpvaudio.toml_file import TomlFile, read_toml

FOR_ALL = Path("/etc/xen-pv-audio/frontend.toml")
_KEYS = {spec.name.replace("_", "-"): spec for spec in fields(FrontendSettings)}
_MOST = 10_000_000


def settings_path(environ: Mapping[str, str] = os.environ, for_all: Path | None = None) -> Path:
    """The user's own file if it is there, else the machine's."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    own = Path(home) / "xen-pv-audio" / FOR_ALL.name
    return own if os.path.lexists(own) else for_all or FOR_ALL


def load_settings(path: Path | None = None) -> FrontendSettings:
    """Without a path the default one, if it is there. ConfigError names file, line and key."""
    file = read_toml(path or settings_path(), by_default=path is None)
    if file is None:
        return FrontendSettings()
    for key, value in file.content.items():
        if key not in _KEYS:
            raise file.unknown("", key, _KEYS)
        _check(file, key, value)
    chosen = {_KEYS[key].name: value for key, value in file.content.items()}
    return replace(FrontendSettings(), **chosen)


def _check(file: TomlFile, key: str, value: Any) -> None:
    default = _KEYS[key].default
    if isinstance(default, bool):
        right, what = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        right, what = value in SERVED, f"one of {', '.join(SERVED)}"
    else:
        least = 0 if default == 0 else 1
        number = isinstance(value, int) and not isinstance(value, bool)
        right = number and least <= value <= _MOST
        what = f"a whole number from {least} to {_MOST}"
    if not right:
        raise ConfigError(f"{file.at('', key)}: {key} = {value!r}: is {what}")
