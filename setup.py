"""Only the hook that pyproject.toml cannot express: the C extension, made by cffi."""

from setuptools import setup

setup(cffi_modules=["pw_module/build_native.py:make_ffi"])
