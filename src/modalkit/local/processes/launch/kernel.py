"""The few system calls that Python 3.11 has no function for."""

from __future__ import annotations

import ctypes
import os

__all__ = [
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "MS_BIND",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "PR_SET_CHILD_SUBREAPER",
    "PR_SET_PDEATHSIG",
    "Kernel",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


class Kernel:
    """The few system calls Python 3.11 has no function for."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def _check(self, result: int, what: str) -> None:
        if result != 0:
            errno = ctypes.get_errno()
            msg = f"{what}: {os.strerror(errno)}"
            raise OSError(errno, msg)

    def unshare(self, flags: int) -> None:
        """Leave the namespaces named by ``flags``."""
        self._check(self._libc.unshare(flags), f"unshare({flags:#x})")

    def mount(
        self, source: str, target: str, kind: str = "", flags: int = 0, data: str = ""
    ) -> None:
        """Mount ``source`` at ``target``."""
        result = self._libc.mount(
            source.encode(),
            target.encode(),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            data.encode() or None,
        )
        self._check(result, f"mount {kind or 'bind'} {source} at {target}")

    def pivot_root(self, new_root: str) -> None:
        """Make ``new_root`` the root folder and let go of the old one."""
        os.chdir(new_root)
        number = SYS_PIVOT_ROOT[os.uname().machine]
        self._check(self._libc.syscall(number, b".", b"."), "pivot_root")
        self._check(self._libc.umount2(b".", MNT_DETACH), "umount the old root")
        os.chdir("/")

    def prctl(self, option: int, value: int) -> None:
        """Set a process attribute."""
        self._check(self._libc.prctl(option, value, 0, 0, 0), f"prctl({option})")
