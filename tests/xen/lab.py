"""Boots the lab once: QEMU in software emulation, Xen, dom0, scenarios; brings the results back.

No hardware help is wanted (no KVM): a PV dom0 and PV guests need none. The emulator is slow, a
request's round trip takes 4 to 5 ms: it proves function and order, never speed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from images import CACHE, HERE, PROJECT, CannotRunError, Images, install, run

QEMU = "qemu-system-x86_64"
# With AVX or XSAVE, programs in dom0 and guests crash at random under QEMU 7.2's emulation;
# "qemu64" does not get through Xen's start.
CPU = "max,-la57,-smap,-smep,-avx,-avx2,-xsave"
XEN_ARGUMENTS = (
    "dom0_mem=1024M,max:1024M dom0_max_vcpus=1 com1=115200,8n1 console=com1 spec-ctrl=no xpti=no "
    "smt=1 cpufreq=none watchdog=0 noreboot loglvl=warning guest_loglvl=warning"
)
DOM0_ARGUMENTS = (
    "console=hvc0 quiet mitigations=off audit=0 panic=1 lab.role=dom0 lab.root=vda lab.job=vdb "
    "lab.out=vdc"
)
BY_SYSTEMD = " lab.init=systemd systemd.show_status=0 systemd.unit=multi-user.target"
FRAMES = 3 * 48000
MARK = "@@ "
"""Starts a console line that is a scenario's result."""


@dataclass(slots=True)
class Boot:
    """One power-on. `status`: dom0's word for the whole job; None if none came back."""

    status: int | None = None
    wall_sec: float = 0.0
    results: list[str] = field(default_factory=list)
    """Lines like "PASS name figure"."""


def require_machine(suites: int = 1) -> None:
    if shutil.which(QEMU) is None:
        install("qemu-system-x86")
    if shutil.which(QEMU) is None:
        raise CannotRunError(f"{QEMU} is missing")
    CACHE.mkdir(parents=True, exist_ok=True)
    # The images and the project's files; the disks of one boot.
    for directory, gigabytes in ((CACHE, 2.5 * suites), (Path(tempfile.gettempdir()), 1.5)):
        free = shutil.disk_usage(directory).free / 1e9
        if free < gigabytes:
            raise CannotRunError(f"{directory} has {free:.1f} GB free, {gigabytes:g} GB are needed")


def boot(
    images: Images,
    project: Path,
    scenarios: Sequence[str],
    out: Path,
    *,
    limit_sec: float = 600,
    cpus: int = 1,
    loudspeaker: Path | None = None,
    on_result: Callable[[str], None] = lambda line: None,
) -> Boot:
    """Runs `scenarios` (modules of scenarios/) in dom0. `out` gets console.log, and in files/ what
    dom0 left; `loudspeaker`: a WAV file that an emulated HDA card in dom0 writes. `project`: a
    tar of it; or a folder of its Debian packages, and then it is systemd that boots dom0."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "files").mkdir(parents=True)
    done = Boot()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="xenlab-") as name:
        work = Path(name)
        _make_disks(images, project, scenarios, work)
        more = BY_SYSTEMD if project.is_dir() else ""
        command = _qemu(images, work, cpus, loudspeaker, more)
        with (out / "console.log").open("w") as log:
            process = subprocess.Popen(
                ["timeout", "--foreground", "-k", "10", str(limit_sec), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    line = line.rstrip("\r\n")
                    log.write(f"{time.monotonic() - started:7.2f} {line}\n")
                    log.flush()
                    _, mark, result = line.partition(MARK)
                    if mark and result.startswith(("PASS ", "FAIL ")):
                        done.results.append(result)
                        on_result(result)
                    elif mark and result.startswith("WHY "):
                        on_result(result)
            finally:
                process.terminate()
                process.wait()
        # A tar on the raw disk; nothing if dom0 never got there.
        subprocess.run(
            ["tar", "-xf", work / "out.img", "-C", out / "files"],
            stderr=subprocess.DEVNULL,
        )
    try:
        done.status = int((out / "files" / "rc").read_text())
    except (OSError, ValueError):
        done.status = None
    done.wall_sec = time.monotonic() - started
    return done


def _make_disks(images: Images, project: Path, scenarios: Sequence[str], work: Path) -> None:
    """job.img for the guests, job-dom0.img with the guests' kernel too: tars on raw disks."""
    tree = work / "job-tree"
    (tree / "job").mkdir(parents=True)
    (tree / "job/args").write_text(" ".join(scenarios))
    frames = numbered_frames(FRAMES)
    (tree / "job/frames.raw").write_bytes(frames)
    with wave.open(str(tree / "job/frames.wav"), "wb") as sound:
        sound.setparams((2, 2, 48000, 0, "NONE", ""))
        # pw-play loses what its last quantum does not fill: it may have this.
        sound.writeframes(frames + bytes(4 * 24000))
    shutil.copytree(HERE / "inside", tree / "inside", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        HERE / "scenarios", tree / "scenarios", ignore=shutil.ignore_patterns("__pycache__")
    )
    # What a user copies by hand, and the page that says where to.
    shutil.copytree(PROJECT / "packaging", tree / "source/packaging")
    shutil.copy(images.path("busybox"), tree / "busybox")
    if project.is_dir():
        shutil.copytree(project, tree / "debs")
    else:
        run("tar", "-xf", project, "-C", tree)
    run("tar", "-cf", work / "job.img", "-C", tree, ".")
    (tree / "boot").mkdir()
    for file in ("vmlinux", "initrd.img"):
        shutil.copy(images.path(file), tree / "boot" / file)
    run("tar", "-cf", work / "job-dom0.img", "-C", tree, ".")
    shutil.rmtree(tree)
    for name in ("job.img", "job-dom0.img"):
        run("truncate", "-s", "%1M", work / name)
    run("truncate", "-s", "512M", work / "out.img")


def _qemu(images: Images, work: Path, cpus: int, loudspeaker: Path | None, more: str) -> list[str]:
    """`more`: of dom0's kernel command line."""
    disks = []
    snapshot = "snapshot=on,file.locking=off"
    for name, file, options in (
        ("root", images.path("rootfs.img"), snapshot),  # vda
        ("job", work / "job-dom0.img", "readonly=on"),  # vdb
        ("out", work / "out.img", "cache=unsafe"),  # vdc
        ("guest0", images.path("rootfs.img"), snapshot),  # vdd
        ("guest1", images.path("rootfs.img"), snapshot),  # vde
        ("guestjob", work / "job.img", "readonly=on"),  # vdf
    ):
        disks += ["-drive", f"if=none,id={name},format=raw,file={file},{options}"]
        disks += ["-device", f"virtio-blk-pci,drive={name}"]
    sound = []
    if loudspeaker is not None:
        # The card's own rate, or QEMU resamples to 44100 Hz; no mixer, so nobody turns it down.
        sound = ["-audiodev", f"wav,id=speaker,path={loudspeaker},out.frequency=48000"]
        sound += ["-device", "intel-hda", "-device", "hda-output,audiodev=speaker,mixer=off"]
    modules = f"{images.path('vmlinux')} {DOM0_ARGUMENTS} lab.xen={images.xen_version}{more}"
    return [
        *(QEMU, "-name", "xenlab", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU),
        *("-smp", str(cpus), "-m", "2560", "-display", "none", "-nodefaults", "-no-reboot"),
        *("-serial", "stdio", "-kernel", str(images.path("xen")), "-append", XEN_ARGUMENTS),
        *("-initrd", f"{modules},{images.path('initrd.img')}"),
        *disks,
        *sound,
    ]


def numbered_frames(count: int) -> bytes:
    """`count` S16 stereo frames, each different from every other and none silent: a gap or a
    repeat in a recording shows where it is."""
    data = bytearray()
    for number in range(1, count + 1):
        low = (number * 40503) & 0xFFFF  # odd factor: every value once in 65536
        data += low.to_bytes(2, "little") + (number >> 16 << 8 | 0x55).to_bytes(2, "little")
    return bytes(data)
