"""Only what pyproject.toml cannot express: the C extension, made by cffi, and ALSA's plugins."""

import sys

from setuptools import setup

sys.path.insert(0, "pw_module")

from build_plugins import BuildPlugins, plugins

setup(
    cffi_modules=["pw_module/build_native.py:make_ffi"],
    ext_modules=plugins(),
    cmdclass={"build_ext": BuildPlugins},
)
