"""A place where a user has a systemd of its own, on a machine that was not booted by systemd.

    unshare NAMESPACES python place.py TREE USER MODULE WORDS...

As root, as process 1 of these namespaces: runs `python -m MODULE WORDS...` of the checkout TREE as
USER, with /run and a control group of its own, and ends with its status. Standard library only, for
it runs before that user can read TREE.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import stat
import subprocess
import sys
from pathlib import Path

NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--cgroup")
USER = "games"  # an ordinary one in that it may do nothing; Debian always has it
TREE = Path("/run/tree")
GROUPS = Path("/sys/fs/cgroup")
REAL_TIME_PRIORITY = 88  # as members of Debian's group pipewire get it


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def make_run(tree: Path, user: pwd.struct_passwd) -> Path:
    """What pid 1 and logind make there: what says that systemd runs, and the user's folder. The
    checkout is shown there as well, whoever may look into the folders above it."""
    mount("--bind", str(tree), "/mnt")
    mount("-t", "tmpfs", "none", "/run")
    TREE.mkdir()
    mount("--move", "/mnt", str(TREE))
    for folder in ("system", "unit-root", "propagate"):
        (Path("/run/systemd") / folder).mkdir(parents=True)
    hidden = Path("/run/systemd/inaccessible")  # what root's systemd puts over what it hides
    (hidden / "dir").mkdir(parents=True)
    (hidden / "reg").touch()
    os.mkfifo(hidden / "fifo")
    os.mknod(hidden / "chr", stat.S_IFCHR, os.makedev(0, 0))
    runtime = Path("/run/user") / str(user.pw_uid)
    runtime.mkdir(parents=True)
    os.chown(runtime, user.pw_uid, user.pw_gid)
    runtime.chmod(0o700)
    return runtime


def make_group(user: pwd.struct_passwd) -> Path:
    """A control group that the user may divide."""
    subprocess.run(["umount", "--recursive", str(GROUPS)], check=False)
    mount("-t", "cgroup2", "none", str(GROUPS))
    group = GROUPS / f"xpa-units-{os.getpid()}-{os.urandom(4).hex()}"
    group.mkdir()
    for path in (group, *group.glob("cgroup.*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    return group


def remove_group(group: Path) -> None:
    (GROUPS / "cgroup.procs").write_text("0")
    (group / "cgroup.kill").write_text("1")
    for path in sorted(group.rglob("*/"), reverse=True):
        if path.is_dir():
            path.rmdir()
    group.rmdir()


def main() -> int:
    tree, name, module, *words = sys.argv[1:]
    user = pwd.getpwnam(name)
    runtime = make_run(Path(tree), user)
    group = make_group(user)
    with contextlib.suppress(ValueError):  # only who has CAP_SYS_RESOURCE may raise it
        resource.setrlimit(resource.RLIMIT_RTPRIO, (REAL_TIME_PRIORITY, REAL_TIME_PRIORITY))
    sources = [str(TREE / name) for name in ("bridge", "pw_module", "tests")]
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(runtime / "home"),
        "TMPDIR": str(runtime),  # of what the units see, %t is the one place that they may write
        "XDG_RUNTIME_DIR": str(runtime),
        "PYTHONPATH": os.pathsep.join(sources),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
    python = sys.executable.replace(f"{tree}/", f"{TREE}/")
    (group / "cgroup.procs").write_text("0")  # only root may move what the user starts into it
    try:
        return subprocess.run(
            [python, "-m", module, *words],
            env=env,
            cwd=runtime,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[user.pw_gid, 4242],  # one that a user namespace has no name for
            check=False,
        ).returncode
    finally:
        remove_group(group)


if __name__ == "__main__":
    sys.exit(main())
