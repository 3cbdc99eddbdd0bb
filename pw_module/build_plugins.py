"""Build recipe of ALSA's plugins (src/ioplug), built with the extension where ALSA's headers are.

They lie beside the extension until a package moves them to where alsa-lib looks.
"""

from __future__ import annotations

import os

from setuptools import Extension
from setuptools.command.build_ext import build_ext

from build_native import (
    COMPILE_FLAGS,
    PLUGIN_ROOM,
    QUOTED_INCLUDES,
    ROOT,
    SOURCE_DIR,
    pkg_config,
)

# The files of each.
PLUGINS = {
    "libasound_module_pcm_xenpv": ("pcm_xenpv.c", "calls.c", "device.c", "link.c"),
    "libasound_module_ctl_xenpv": ("ctl_xenpv.c", "link.c"),
}


def plugins() -> list[Extension]:
    """For setup.py; none where ALSA's headers are not: the rest is built all the same."""
    if pkg_config("--exists", "alsa") is None:
        return []
    return [
        Extension(
            f"xenpvaudio_native.{name}",
            sources=[str(SOURCE_DIR / PLUGIN_ROOM / file) for file in files],
            depends=[str(path.relative_to(ROOT)) for path in (ROOT / SOURCE_DIR).glob("*/*.h")],
            # PIC: ALSA's headers mean a shared library by it
            extra_compile_args=[*QUOTED_INCLUDES, *COMPILE_FLAGS, "-DPIC"],
            extra_link_args=pkg_config("--libs", "alsa") or [],
            libraries=["m"],
        )
        for name, files in PLUGINS.items()
    ]


class BuildPlugins(build_ext):  # type: ignore[misc]
    """A plugin has the name that alsa-lib looks for, not one of a Python module."""

    def get_ext_filename(self, fullname: str) -> str:
        if fullname.rpartition(".")[2] in PLUGINS:
            return os.path.join(*fullname.split(".")) + ".so"
        return str(super().get_ext_filename(fullname))
