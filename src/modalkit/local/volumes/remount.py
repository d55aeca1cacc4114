"""Change what is mounted in a container, from outside, while it runs.

Run by path, as ``python -I -S remount.py`` and one of these; PID is a process of the container::

    exchange PID TARGET FOLDER READ_ONLY    a volume's mount for a newer one
    cover PID TARGET FOLDER OPTIONS         an overlay over a folder, which is made if it is missing
    uncover PID TARGET                      what was mounted over a folder

The first speaks with the plane over its standard streams, a line each::

    -> detached            nothing below TARGET is open; it is unmounted, the container is stopped
    <- lowerdir=...        the options of the overlay to mount there, made in FOLDER
    -> attached            the container goes on

or, instead of the first, ``busy WHAT``, and the container was not touched. The container's processes
are stopped in between so that none of them meets the mount point without its volume; whatever goes
wrong they go on when this program ends. The others say ``done``, or ``busy WHAT``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["main"]

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_REC, MS_PRIVATE = 0x1, 0x4000, 0x40000
SYS_OPEN_TREE, SYS_MOVE_MOUNT = 428, 429  # the same on every architecture
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH, AT_FDCWD = 1, 4, -100
STOPPING_S = 0.3  # a thread that waits for the disk, or for a child it is starting, may not stop
OVERLAYS = ("redirect_dir=on,metacopy=off,index=off", "userxattr")

_LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """Turn a failed system call into an OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """Mount ``source`` at ``target``."""
    words = [word.encode() or None for word in (source, target, kind, data)]
    result = _LIBC.mount(*words[:3], ctypes.c_ulong(flags), words[3])
    check(result, f"mount {kind} at {target}")


def enter(namespace: int, kind: int) -> None:
    """Enter a namespace."""
    check(_LIBC.setns(namespace, kind), "setns")


def namespace(pid: int | str, kind: str) -> int:
    """Open a process's namespace."""
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def same(one: int, other: int) -> bool:
    """Return whether two open files are one."""
    return os.fstat(one).st_ino == os.fstat(other).st_ino


def inhabitants(mounts: int) -> Iterator[int]:
    """Yield the processes that see these mounts."""
    wanted = os.fstat(mounts).st_ino
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if os.stat(f"{entry.path}/ns/mnt").st_ino == wanted:  # noqa: PTH116 - pathlib is slow for every process
                    yield int(entry.name)


def stop(mounts: int) -> list[int]:
    """Stop every process that sees these mounts, and wait until none of them runs."""
    stopped: list[int] = []
    deadline = time.monotonic() + STOPPING_S
    while time.monotonic() < deadline:
        running = [pid for pid in inhabitants(mounts) if runs(pid)]
        if not running:
            break
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped += [pid for pid in running if pid not in stopped]
        time.sleep(0.0005)
    return stopped


def go_on(stopped: list[int]) -> None:
    """Let stopped processes run again."""
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def runs(pid: int) -> bool:
    """Return whether any thread of a process is not stopped yet."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            if (task / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return True
    return False


def open_below(pids: list[int], target: str) -> str:
    """Name something that is open below ``target``."""
    for pid in pids:
        links = [Path(f"/proc/{pid}/cwd")]
        with contextlib.suppress(OSError):
            links += Path(f"/proc/{pid}/fd").iterdir()
        for link in links:
            with contextlib.suppress(OSError):
                path = str(link.readlink())
                if path == target or path.startswith(target + "/"):
                    kind = "is the working folder of" if link.name == "cwd" else "is open in"
                    return f"{path} {kind} {command(pid)!r}"
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if f" {target}/" in line:
                    return f"{line.split(maxsplit=5)[5]} is mapped by {command(pid)!r}"
    return f"something below {target} is in use"


def command(pid: int) -> str:
    """Return a process's command line."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return " ".join(os.fsdecode(word) for word in words).strip()


def overlay(folder: str, options: str, flags: int) -> int:
    """Make an overlay that is mounted nowhere yet and return its descriptor."""
    os.chdir(folder)
    point = Path("point")
    point.mkdir(exist_ok=True)
    for index, kind in enumerate(OVERLAYS):
        try:
            mount("overlay", "point", "overlay", flags, f"{options},{kind}")
            break
        except OSError:
            if index == len(OVERLAYS) - 1:
                raise
    return check(
        _LIBC.syscall(SYS_OPEN_TREE, AT_FDCWD, b"point", OPEN_TREE_CLONE | os.O_CLOEXEC),
        "open_tree",
    )


def exchange(mounts: int, home: int, target: str, folder: str, flags: int) -> None:
    """Unmount, let the plane commit, and mount what it says."""
    pids = stop(mounts)
    try:
        enter(mounts, CLONE_NEWNS)
        if _LIBC.umount2(target.encode(), 0) < 0:
            number = ctypes.get_errno()
            enter(home, CLONE_NEWNS)
            reason = os.strerror(number) if number != errno.EBUSY else open_below(pids, target)
            say(f"busy {reason}")
            return
        enter(home, CLONE_NEWNS)
        say("detached")
        if not (options := sys.stdin.readline().strip()):
            return  # the plane is gone, and the container with it
        tree = overlay(folder, options, flags)
        enter(mounts, CLONE_NEWNS)
        attach(tree, target)
        say("attached")
    finally:
        go_on(pids)


def attach(tree: int, target: str) -> None:
    """Mount what was mounted nowhere."""
    check(
        _LIBC.syscall(
            SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH
        ),
        f"move_mount to {target}",
    )


def cover(mounts: int, target: str, folder: str, options: str) -> None:
    """Mount an overlay at ``target``, or where that leads."""
    tree = overlay(folder, options, 0)
    enter(mounts, CLONE_NEWNS)
    place = Path(target).resolve()
    place.mkdir(parents=True, exist_ok=True)
    attach(tree, str(place))
    say("done")


def uncover(mounts: int, home: int, target: str) -> None:
    """Unmount what was mounted over ``target``."""
    pids = list(inhabitants(mounts))
    enter(mounts, CLONE_NEWNS)
    place = str(Path(target).resolve())
    if _LIBC.umount2(place.encode(), 0) < 0:
        number = ctypes.get_errno()
        enter(home, CLONE_NEWNS)
        reason = os.strerror(number) if number != errno.EBUSY else open_below(pids, place)
        say(f"busy {reason}")
        return
    say("done")


def say(line: str) -> None:
    """Tell the plane."""
    sys.stdout.write(line.replace("\n", " ") + "\n")
    sys.stdout.flush()


def main(verb: str, pid: str, target: str, *details: str) -> None:
    """Change what is mounted at ``target`` in the mount namespace of the process ``pid``."""
    mounts, users = namespace(pid, "mnt"), namespace(pid, "user")
    if not same(users, namespace("self", "user")):
        enter(users, CLONE_NEWUSER)
    check(_LIBC.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", "", MS_REC | MS_PRIVATE, "")
    home = namespace("self", "mnt")
    if verb == "exchange":
        folder, read_only = details
        exchange(mounts, home, target, folder, MS_RDONLY if read_only == "1" else 0)
    elif verb == "cover":
        folder, options = details
        cover(mounts, target, folder, options)
    else:
        uncover(mounts, home, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
