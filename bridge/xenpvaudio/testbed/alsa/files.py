"""Where those parts of ours are that ALSA programs and PulseAudio load: in the folders of the
system, or in a clone, where they are built."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from xenpvaudio.errors import UnavailableError

PLUGINS = ("libasound_module_pcm_xenpv.so", "libasound_module_ctl_xenpv.so")
# Where distributions have alsa-lib look, below the root.
PLUGIN_FOLDERS = ("usr/lib/*/alsa-lib", "usr/lib*/alsa-lib", "usr/local/lib*/alsa-lib")
SNIPPET = "50-xen-pv-audio.conf"
SNIPPET_FOLDERS = ("usr/share/alsa/alsa.conf.d", "etc/alsa/conf.d")
_PULSE_SCRIPT = "xen-pv-audio.pa"
_PULSE_FOLDERS = ("usr/share/xen-pv-audio",)
_PACKAGING = Path(__file__).resolve().parents[4] / "packaging"


def installed(name: str, folders: Sequence[str], root: Path = Path("/")) -> Path | None:
    """The first file of that name in `folders`, which may be patterns."""
    return next((path for folder in folders for path in root.glob(f"{folder}/{name}")), None)


def built(name: str) -> Path:
    """Where setup.py leaves a plugin, whether it is there or not."""
    found = find_spec("xenpvaudio_native")
    assert found is not None and found.origin is not None
    return Path(found.origin).with_name(name)


def _plugin(name: str) -> Path:
    path = built(name)
    found = path if path.exists() else installed(name, PLUGIN_FOLDERS)
    if found is None:
        raise UnavailableError(
            f"ALSA's plugin {name} is missing",
            hint="install xen-pv-audio-alsa, or build where libasound2-dev is",
        )
    return found


def _shipped(name: str, room: str, folders: Sequence[str]) -> Path:
    path = _PACKAGING / room / name
    found = path if path.exists() else installed(name, folders)
    if found is None:
        raise UnavailableError(f"{name} is missing", hint="install xen-pv-audio-alsa")
    return found


def snippet() -> Path:
    """What defines the device `xenpv`."""
    return _shipped(SNIPPET, "alsa", SNIPPET_FOLDERS)


def pulse_script() -> Path:
    """What makes PulseAudio's sink and source of it."""
    return _shipped(_PULSE_SCRIPT, "pulse", _PULSE_FOLDERS)


def plugin_lines() -> str:
    """What alsa-lib does by itself with plugins that are installed, as its configuration."""
    return "".join(
        f'{kind}_type.xenpv {{ lib "{_plugin(name)}" }}\n'
        for kind, name in zip(("pcm", "ctl"), PLUGINS, strict=True)
    )
