"""The recipes for other systems: what they install is what the Debian packages install, and what
they say of themselves is true. The RPMs are built where rpmbuild is."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import xenpvaudio

ROOT = Path(__file__).resolve().parents[3]
PACKAGING = ROOT / "packaging"
SPEC = PACKAGING / "rpm" / "xen-pv-audio.spec"
PLACES = ("common", "alsa", "frontend", "backend")
RECIPES = {
    "packaging/rpm/xen-pv-audio.spec": True,
    "packaging/arch/PKGBUILD": False,
    "packaging/yocto/xen-pv-audio_0.1.0.bb": False,
    "packaging/nixos/package.nix": False,
    "packaging/nixos/module.nix": False,
}
"""Whether it has been run here."""


def install_files(root: Path, *places: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["packaging/install-files.sh", str(root), *places],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A root for each place."""
    roots = {place: tmp_path_factory.mktemp(place) for place in PLACES}
    for place, root in roots.items():
        done = install_files(root, place)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return roots


@pytest.mark.parametrize("place", PLACES)
def test_the_files_of_the_debian_packages_are_installed(
    place: str, installed: dict[str, Path]
) -> None:
    lines = (PACKAGING / "debian" / f"xen-pv-audio-{place}.install").read_text().splitlines()
    ours = [line.split() for line in lines if line.startswith("packaging/")]
    assert ours
    for source, target in ours:
        for path in (p for p in [ROOT / source, *(ROOT / source).rglob("*")] if p.is_file()):
            copy = installed[place] / target / path.relative_to((ROOT / source).parent)
            text = copy.read_text(encoding="utf-8")
            program = "ExecStart=/usr/bin/xen-pv-audio "
            assert text.replace(program, "ExecStart=xen-pv-audio ") == path.read_text()
            assert (program in text) == (copy.suffix == ".service")
            assert oct(copy.stat().st_mode & 0o777) == "0o644"


def test_alsas_plugins_go_where_its_library_looks(tmp_path: Path) -> None:
    python = tmp_path / "usr/lib/python3/site-packages/xenpvaudio_native"
    python.mkdir(parents=True)
    for kind in ("pcm", "ctl"):
        (python / f"libasound_module_{kind}_xenpv.so").write_text(kind)
    assert install_files(tmp_path, "alsa", ALSA_PLUGINS="usr/lib64/alsa-lib").returncode == 0
    assert list(python.iterdir()) == []
    for kind in ("pcm", "ctl"):
        moved = tmp_path / "usr/lib64/alsa-lib" / f"libasound_module_{kind}_xenpv.so"
        assert moved.read_text() == kind


def test_what_is_installed_beside_is_there(installed: dict[str, Path]) -> None:
    pytest.importorskip("shtab")
    assert files(installed["common"]) >= {
        "usr/share/man/man1/xen-pv-audio.1",
        "usr/share/bash-completion/completions/xen-pv-audio",
        "usr/share/zsh/site-functions/_xen-pv-audio",
    }
    documents = installed["common"] / "usr/share/doc/xen-pv-audio"
    assert (documents / "README.md").exists() and (documents / "doc" / "install.md").exists()
    examples = "usr/share/doc/xen-pv-audio/examples"
    script = installed["backend"] / examples / "driver-domain.sh"
    assert os.access(script, os.X_OK)
    assert f"{examples}/desktop.cfg" in files(installed["backend"])
    assert "usr/lib/systemd/system/xen-pv-audio-xenstore.service" in files(installed["backend"])


def test_the_program_may_be_elsewhere(tmp_path: Path) -> None:
    assert install_files(tmp_path, "frontend", BINDIR="/opt/bin").returncode == 0
    unit = tmp_path / "usr/lib/systemd/user/xen-pv-audio-frontend.service"
    assert "\nExecStart=/opt/bin/xen-pv-audio frontend" in unit.read_text(encoding="utf-8")


@pytest.mark.parametrize("places", [(), ("middle",)])
def test_another_use_is_told_how(places: tuple[str, ...], tmp_path: Path) -> None:
    done = install_files(tmp_path, *places)
    assert (done.returncode, done.stdout) == (2, "")
    assert "alsa, common, frontend, backend" in done.stderr


def spec_files(section: str) -> list[str]:
    """Paths of a %files section."""
    text = SPEC.read_text(encoding="utf-8")
    found = re.search(
        rf"^%files{section}\n(.*?)^(?:%files|%changelog)", text, re.MULTILINE | re.DOTALL
    )
    assert found
    return [line.split()[-1] for line in found[1].splitlines() if line and "%dir" not in line]


@pytest.mark.parametrize("place", PLACES)
def test_the_rpm_has_each_file_in_its_package(place: str, installed: dict[str, Path]) -> None:
    pytest.importorskip("shtab")
    listed = spec_files("" if place == "common" else f" {place}")
    ours = {path.rstrip("*").lstrip("/") for path in listed if path.startswith("/")}
    for name in files(installed[place]):
        assert any(name == path or name.startswith(f"{path}/") for path in ours), name
    for path in ours:
        assert (installed[place] / path).exists(), path


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_says_whether_it_was_run_as_the_page_does(recipe: str) -> None:
    head = "\n".join((ROOT / recipe).read_text(encoding="utf-8").splitlines()[:4])
    assert ("Run here: " in head) == RECIPES[recipe]
    assert "Not run here" in head
    page = (PACKAGING / "doc" / "systems.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith("|") and f"`{recipe}`" in line)
    assert row.endswith("| no |") != RECIPES[recipe]


def test_each_recipe_is_on_the_page() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("arch", "nixos", "rpm", "yocto")
        for path in (PACKAGING / folder).iterdir()
    }
    assert found == set(RECIPES)


def test_yocto_knows_the_license() -> None:
    (recipe,) = (PACKAGING / "yocto").iterdir()
    digest = hashlib.md5((ROOT / "LICENSE").read_bytes(), usedforsecurity=False).hexdigest()
    assert f"file://LICENSE;md5={digest}" in recipe.read_text(encoding="utf-8")


def test_arch_s_recipe_parses_and_makes_each_place_s() -> None:
    recipe = PACKAGING / "arch" / "PKGBUILD"
    subprocess.run(["bash", "-n", str(recipe)], check=True)
    text = recipe.read_text(encoding="utf-8")
    assert re.findall(r'install-files\.sh "\$pkgdir" (\w+)$', text, re.MULTILINE) == list(PLACES)


def test_nixos_s_module_loads_and_keeps_out_what_the_packages_do() -> None:
    text = (PACKAGING / "nixos" / "module.nix").read_text(encoding="utf-8")
    for folder in ("modules-load.d", "modprobe.d"):
        lines = (PACKAGING / folder / "xen-pv-audio.conf").read_text().splitlines()
        for name in (line.split()[-1] for line in lines if line and not line.startswith("#")):
            assert f'"{name}"' in text, name


def test_rpmbuild_makes_packages_whose_program_starts(tmp_path: Path) -> None:
    if shutil.which("rpmbuild") is None or shutil.which("rpm2cpio") is None:
        pytest.skip("rpmbuild is missing: apt install rpm cpio")
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no clone: the project was copied here without its history")
    pytest.importorskip("shtab")
    version = xenpvaudio.__version__
    name = f"xen-pv-audio-{version}"
    # As it is now, not as it was committed.
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    there = [path for path in listed.split(b"\0") if path and (ROOT / os.fsdecode(path)).is_file()]
    pack = ["tar", "--create", "--gzip", "--null", "--no-recursion", "--files-from=-"]
    pack += [f"--transform=s|^|{name}/|", f"--file={tmp_path}/{name}.tar.gz"]
    subprocess.run(pack, cwd=ROOT, input=b"\0".join(there), check=True)
    command = ["rpmbuild", "-bb", "--nodeps", str(SPEC)]
    for macro, value in (
        ("_sourcedir", tmp_path),
        ("_topdir", tmp_path / "rpm"),
        ("_dbpath", tmp_path / "db"),
        ("__python3", sys.executable),
    ):
        command += ["--define", f"{macro} {value}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    packages = sorted((tmp_path / "rpm" / "RPMS").rglob("*.rpm"))
    assert len([path for path in packages if "debug" not in path.name]) == len(PLACES)
    root = tmp_path / "root"
    root.mkdir()
    for package in packages:
        unpack = f"rpm2cpio {package} | cpio --extract --make-directories --quiet"
        subprocess.run(["sh", "-ec", unpack], cwd=root, check=True)
    plugins = {path.name for path in root.glob("usr/lib*/alsa-lib/*.so")}
    assert plugins == {f"libasound_module_{kind}_xenpv.so" for kind in ("ctl", "pcm")}
    (modules,) = root.glob("usr/lib*/python3*/site-packages")
    assert not list(modules.rglob("libasound*"))
    env = {**os.environ, "PYTHONPATH": str(modules)}
    program = str(root / "usr/bin/xen-pv-audio")
    compiled = "import xenpvaudio_native._native as n; print(n.__file__)"
    said = [
        subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for words in ([program, "--version"], ["-c", compiled])
    ]
    assert said[0] == f"xen-pv-audio {version}"
    assert said[1].startswith(f"{modules}/xenpvaudio_native/_native.")
