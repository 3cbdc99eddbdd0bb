"""The sdist and the wheel in a root: made there by its own tools, and installed with pip, without a
network; and there, too, the wheel that the oldest release made, for one is for all (abi3)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from roots.root import CACHE

BUILDERS = ("python3-pip", "python3-pyxs", "python3-venv")
OLDEST = CACHE / "wheel-of-the-oldest"
TAGS = "-cp311-abi3-linux_"
MADE, OTHERS = "tmp/made", "tmp/others"
MAKE = f"""
rm -rf /{MADE}; mkdir /{MADE}; cd /project
python3 -W ignore setup.py -q egg_info -e /{MADE} sdist -d /{MADE}
python3 -m pip wheel -q --no-deps --no-index --no-build-isolation -w /{MADE} /{MADE}/*.tar.gz
ls /{MADE}/*{TAGS}*.whl
"""
# What a program does that was installed so: its compiled half runs, too.
INSTALL = """
rm -rf /tmp/venv; python3 -m venv --system-site-packages /tmp/venv
/tmp/venv/bin/python -m pip install -q --no-index --no-deps {wheel}
/tmp/venv/bin/xen-pv-audio --version
/tmp/venv/bin/python -c 'import xenpvaudio_native.pipewire as found
assert found.__file__.startswith("/tmp/venv/"), found.__file__
print("with PipeWire", ".".join(map(str, found.library_version())))'
"""


def installed_by_pip(run: Callable[[str], str], root: Path, *, oldest: bool) -> str:
    """What was seen. `run`: a shell line in the root, which holds the project and raises what is
    wrong; `oldest`: the wheel that is made here is the one for the others."""
    run(MAKE)
    (wheel,) = (root / MADE).glob("*.whl")
    (root / OTHERS).mkdir(exist_ok=True)
    if oldest:
        shutil.rmtree(OLDEST, ignore_errors=True)
        OLDEST.mkdir(parents=True)
        shutil.copy(wheel, OLDEST)
    wheels = {"its own wheel": f"/{MADE}/{wheel.name}"}
    for path in () if oldest else OLDEST.glob("*.whl"):
        shutil.copy(path, root / OTHERS)
        wheels["the oldest release's wheel"] = f"/{OTHERS}/{path.name}"
    told = [f"{wheel.name}, {wheel.stat().st_size / 1000:.0f} kB"]
    for name, path in wheels.items():
        told.append(f"{name}: {' '.join(run(INSTALL.format(wheel=path)).split())}")
    return "; ".join(told)
