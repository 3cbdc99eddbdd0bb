"""ALSA's plugin alone: alsa-lib loads it into a program (test_ioplug.c) that plays the frontend,
without sound or time. A twin with one rule left out must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from build_plugins import PLUGINS
from interop.twin import Change

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "pw_module" / "src"
TESTS = ROOT / "tests" / "pw_module"
FLAGS = ("-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-DPIC")

# Of a program that maps the samples, as plug does, all that are there are copied, and it may take
# fewer: those that came since it looked, 2 to 13 at a time, would be lost to it.
COUNTS_WHAT_IS_COPIED = Change(
    "ioplug/calls.c",
    "    uint64_t frame = xpa_plug_appl_frames(p);\n    if (p->capture)",
    "    static uint64_t copied;\n"
    "    copied = xpa_plug_appl_frames(p) == 0 ? 0 : copied;\n"
    "    uint64_t frame = copied;\n"
    "    copied += frames;\n"
    "    if (p->capture)",
)

pytestmark = pytest.mark.skipif(
    not Path("/usr/include/alsa/pcm_external.h").exists(), reason="no libasound2-dev"
)


def compile_plugin(sources: Path, folder: Path) -> Path:
    """The PCM's, of the sources at `sources`."""
    (name,) = (name for name in PLUGINS if "_pcm_" in name)
    made = folder / f"{name}.so"
    files = [str(sources / "ioplug" / file) for file in PLUGINS[name]]
    command = ["cc", *FLAGS, "-shared", "-fPIC", "-iquote", str(sources), *files]
    subprocess.run([*command, "-o", str(made), "-lasound", "-lm"], check=True)
    return made


def run(plugin: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    program = folder / "test_ioplug"
    paths = [part for path in (SOURCES, TESTS / "rig") for part in ("-iquote", str(path))]
    source = str(TESTS / "ioplug" / "test_ioplug.c")
    command = ["cc", *FLAGS, *paths, source, "-o", str(program), "-lasound", "-lpthread"]
    subprocess.run(command, check=True)
    socket = folder / "socket"
    (folder / "asound.conf").write_text(
        f'pcm_type.xenpv {{ lib "{plugin}" }}\n'
        f'pcm.mapped {{ type xenpv socket "{socket}" }}\n'
        f"pcm.converted {{ type plug slave.pcm mapped }}\n"
    )
    return subprocess.run(
        [str(program), str(socket)],
        env={**os.environ, "ALSA_CONFIG_PATH": str(folder / "asound.conf")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_each_frame_is_read_once(tmp_path: Path) -> None:
    done = run(compile_plugin(SOURCES, tmp_path), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plugin_that_counts_what_it_has_copied_loses_frames(tmp_path: Path) -> None:
    twin = tmp_path / "src"
    shutil.copytree(SOURCES, twin)
    change = COUNTS_WHAT_IS_COPIED
    file = twin / change.file
    assert file.read_text().count(change.original) == 1
    file.write_text(file.read_text().replace(change.original, change.changed))
    done = run(compile_plugin(twin, tmp_path), tmp_path)
    assert done.returncode != 0
    assert "converted: frame " in done.stdout
