"""A TOML file that a person wrote: read once, and its mistakes told with their line."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError


@dataclass(frozen=True, slots=True)
class TomlFile:
    path: Path
    text: str
    content: dict[str, Any]

    def at(self, table: str, key: str) -> str:
        """File and line of a key, in the table "" before the first heading; the file alone where it
        is written in another way than a line below its table's."""
        heading = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            bare = line.partition("#")[0].replace('"', "").replace("'", "").strip()
            if bare.startswith("["):
                heading = bare.strip("[] \t")
            elif heading == table and bare.partition("=")[0].strip() == key:
                return f"{self.path}, line {number}"
        return str(self.path)

    def unknown(self, table: str, key: str, known: Iterable[str]) -> ConfigError:
        """That a key is unknown, and which one may be meant."""
        known = list(known)
        near = difflib.get_close_matches(key, known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        within = f"[{table}] " if table else ""
        return ConfigError(
            f"{self.at(table, key)}: {within}{key} is unknown",
            hint=f"{meant}known are {', '.join(known)}",
        )


def read_toml(path: Path, by_default: bool) -> TomlFile | None:
    """None if it is not there and only looked for by default. One that is there and cannot be read,
    or a link to nothing, is not the same as none: ConfigError names file and line."""
    try:
        # Before open(): that of a FIFO would wait for a writer, and a device has no end.
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir() and path != Path(os.devnull):
            raise ConfigError(f"cannot read {path}: it is no regular file")
        text = path.read_text(encoding="utf-8")
        return TomlFile(path, text, tomllib.loads(text))
    except OSError as error:
        if by_default and isinstance(error, FileNotFoundError) and not path.is_symlink():
            return None
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
