"""The frontend's settings: what the file says, what the options say, and mistakes in either."""

from __future__ import annotations

import os
import threading
from dataclasses import fields
from pathlib import Path

import pytest

from xenpvaudio import cli
from xenpvaudio.config import FrontendSettings
from xenpvaudio.errors import ConfigError
from xenpvaudio.frontend import settings_file
from xenpvaudio.frontend.settings_file import load_settings, settings_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "frontend.toml"


def test_what_the_file_does_not_say_is_the_default(path: Path) -> None:
    path.write_text("quantum-frames = 256\nlead-frames = 0\npulse-delay = true\n")
    assert load_settings(path) == FrontendSettings(quantum_frames=256, pulse_delay=True)
    path.write_text("keep-silent-microphone = true\n")
    assert load_settings(path) == FrontendSettings(keep_silent_microphone=True)


def test_options_count_before_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("quantum-frames = 256\nrate = 44100\npulse-delay = true\n")
    given: list[FrontendSettings] = []
    monkeypatch.setattr(
        "xenpvaudio.daemon.run_frontend", lambda settings, wait: given.append(settings)
    )
    monkeypatch.setattr("xenpvaudio.cli.logging.basicConfig", lambda **_: None)
    assert cli.main(["frontend", "--settings", str(path), "--rate", "96000"]) == 0
    assert given == [FrontendSettings(rate=96000, quantum_frames=256, pulse_delay=True)]


def test_every_setting_is_a_key(path: Path) -> None:
    for spec in fields(FrontendSettings):
        value = "true" if isinstance(spec.default, bool) else "77"
        value = '"alsa"' if isinstance(spec.default, str) else value
        path.write_text(f"{spec.name.replace('_', '-')} = {value}\n")
        assert getattr(load_settings(path), spec.name) in (True, 77, "alsa")


def test_the_users_file_counts_before_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert settings_path(environ) == settings_file.FOR_ALL
    own = tmp_path / "xen-pv-audio" / "frontend.toml"
    own.parent.mkdir()
    own.write_text("")
    assert settings_path(environ) == own
    own.unlink()
    own.symlink_to("nothing")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings()
    monkeypatch.setattr(settings_file, "FOR_ALL", tmp_path / "none.toml")
    own.unlink()
    assert load_settings() == FrontendSettings()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("quantum = 256\n", "did you mean quantum-frames?"),
        ("rate = '48000'\n", "whole number"),
        ("rate = 0\n", "whole number from 1"),
        ("rate = true\n", "whole number"),
        ("lead-frames = -1\n", "whole number from 0"),
        ("pulse-delay = 1\n", "true or false"),
        ("serve = 'jack'\n", "one of pipewire, alsa"),
        ("serve = true\n", "one of pipewire, alsa"),
        ("rate 48000\n", "frontend.toml"),
        ("[rate]\n", "whole number"),
        ("# mine\nrate = 48000\nquantum = 256\n", "line 3"),
        ("rate = 48000\n\nchannels = 'two'  # or 6\n", "line 3"),
    ],
)
def test_a_mistake_is_named_with_its_file(text: str, word: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_settings(path)
    assert str(path) in str(error.value) and word in str(error.value)


def test_a_file_that_is_named_must_be_there(path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_settings(path)


def test_a_fifo_is_not_waited_for(path: Path) -> None:
    """The writer is there for a reader that should not be: it would read an empty file."""
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.open("wb").close(), daemon=True)
    writer.start()
    try:
        with pytest.raises(ConfigError, match=r"frontend\.toml: it is no regular file"):
            load_settings(path)
    finally:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer.join()
        os.close(reader)


def test_nothing_at_all_is_the_default() -> None:
    assert load_settings(Path(os.devnull)) == FrontendSettings()
