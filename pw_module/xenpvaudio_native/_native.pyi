"""What the type checker may know of the extension cffi compiles (see pw_module/build_native.py)."""

from typing import Any

ffi: Any
lib: Any
