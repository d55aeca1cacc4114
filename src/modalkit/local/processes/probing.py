"""Whether this machine allows namespaces: tried once, and remembered as long as nothing changes.

A trial takes about 0.14 s, which every command would wait for. That it worked is remembered with
everything the answer depends on, the boot included; that it did not is tried again each time, so a
setting that was just changed is seen at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path

from .isolation import Isolation

__all__ = ["circumstances", "probe_once"]

_PROC = (
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/user/max_mnt_namespaces",
    "/proc/sys/user/max_pid_namespaces",
    "/proc/sys/user/max_net_namespaces",
    "/proc/self/attr/current",
    "/proc/self/uid_map",
    "/proc/self/gid_map",
)
_STATUS = ("Cap", "NoNewPrivs", "Seccomp")
_OWN = ("user", "mnt", "pid", "net")


def probe_once(folder: Path, memory: Path) -> Isolation:
    """Return what this machine allows.

    Args:
        folder: Where to try it; it must not exist.
        memory: Remembers under which circumstances it worked.
    """
    if sys.platform != "linux":
        return Isolation(namespaces=False)
    now = circumstances(folder.parent)
    with contextlib.suppress(OSError):
        if memory.read_text("utf-8") == now:
            return Isolation(namespaces=True)
    found = Isolation.probe(folder)
    if found.namespaces:
        memory.write_text(now, "utf-8")
    else:
        memory.unlink(missing_ok=True)
    return found


def circumstances(folder: Path) -> str:
    """Return a digest of all that decides whether namespaces can be made, with files in ``folder``."""
    disk, system = os.stat(folder), os.statvfs(folder)  # noqa: PTH116 - beside its sibling
    facts = [
        sys.executable,
        sys.version,
        sys.prefix,
        list(os.uname()),
        [os.geteuid(), os.getegid(), *os.getgroups()],
        [_text(Path(path)) for path in _PROC],
        [
            line
            for line in _text(Path("/proc/self/status")).splitlines()
            if line.startswith(_STATUS)
        ],
        [_link(Path("/proc/self/ns") / name) for name in _OWN],
        [system.f_fsid, system.f_flag, _mounts_of(disk.st_dev)],
        [[path.name, path.stat().st_mtime_ns] for path in _launch()],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _mounts_of(device: int) -> list[str]:
    """Return how a device is mounted: kind of file system and options."""
    number = f" {os.major(device)}:{os.minor(device)} "
    return [line for line in _text(Path("/proc/self/mountinfo")).splitlines() if number in line]


def _launch() -> list[Path]:
    """Return what makes the containers."""
    here = Path(__file__).parent
    return [here / "isolation.py", *sorted((here / "launch").glob("*.py"))]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
