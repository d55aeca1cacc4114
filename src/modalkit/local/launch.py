"""The first process of a container: make its world, then become it.

Run by path (``python -I -S launch.py SPEC``) so that it starts in about 20 ms and imports nothing
of modalkit or Modal. It is the only code that runs between the plane and Modal's own container
entrypoint. With namespaces the process tree is::

    plane ── launcher (outside the PID namespace; forwards signals, hands out sockets)
             └── reaper (PID 1 inside; when it ends the kernel ends everything with it)
                 └── Modal's container entrypoint

All die with their parent (``PR_SET_PDEATHSIG``), so nothing outlives the plane.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import NotRequired, TypedDict

__all__ = ["ContainerSpec", "main"]

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFNAME = 0x8913, 0x8914, 0x8923
IFF_UP = 0x1
PLANE_DIED = signal.SIGUSR1
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


class Bind(TypedDict):
    """A host path that appears at a path in the container.

    Attributes:
        overlay: Options of an overlay that is mounted instead; their paths are below ``source``.
    """

    source: str
    target: str
    read_only: bool
    overlay: NotRequired[str]


class ContainerSpec(TypedDict):
    """Everything the launcher needs, written as JSON by ``isolation.py``.

    Attributes:
        parent: The plane's process id; the launcher refuses to run under anyone else.
        namespaces: Make a mount and a PID namespace; otherwise only a session of its own.
        own_network: Also make a network namespace, and hand sockets in it to ``control_fd``.
        layer: A folder laid over the machine's root: the mounted files.
        lowers: Image layers, each laid over the machine's root and the ones before it.
        changes: Keeps what the container writes, to become an image layer; empty for nowhere.
        scratch: A folder for this container alone, removed by the plane when it ends.
        masks: Host folders that the container has its own version of.
        keep: Host paths below a mask that stay visible (Python itself).
        binds: Volumes and the folder with the plane's socket.
        control_fd: A connected Unix socket, or -1.
        listen_ports: Loopback ports the plane serves inside an own network.
    """

    parent: int
    namespaces: bool
    own_network: bool
    layer: str
    lowers: list[str]
    changes: str
    scratch: str
    masks: list[str]
    keep: list[str]
    binds: list[Bind]
    argv: list[str]
    env: dict[str, str]
    cwd: str
    control_fd: int
    listen_ports: list[int]


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


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Get a signal when the parent dies; end now if it already has."""
    if sys.platform == "linux":
        Kernel().prctl(PR_SET_PDEATHSIG, number)
    if parent and os.getppid() != parent:
        os._exit(1)


def enter_namespaces(spec: ContainerSpec, kernel: Kernel) -> None:
    """Leave the machine's namespaces; without root, through a user namespace."""
    flags = CLONE_NEWNS | CLONE_NEWPID | (CLONE_NEWNET if spec["own_network"] else 0)
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        kernel.unshare(flags)
        return
    kernel.unshare(flags | CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def mount_points() -> list[str]:
    """List where the machine's file systems are mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def overlay(kernel: Kernel, lower: str, scratch: Path, target: str) -> None:
    """Mount a writable view of ``lower`` whose changes go to ``scratch``."""
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    data = f"lowerdir={lower},upperdir={upper},workdir={work}"
    try:
        kernel.mount("overlay", target, "overlay", 0, f"{data},userxattr")
    except OSError:
        kernel.mount("overlay", target, "overlay", 0, data)


def build_root(spec: ContainerSpec, kernel: Kernel) -> str:
    """Put the container's root folder together and return its path."""
    points = mount_points()
    kernel.mount("none", "/", "", MS_REC | MS_PRIVATE)
    memory = Path(spec["scratch"]) / "memory"
    memory.mkdir()
    kernel.mount("tmpfs", str(memory), "tmpfs")
    changes = Path(spec["changes"] or memory / "changes")
    root = changes / "root"  # what the container adds beside the top folders stays here
    root.mkdir(parents=True, exist_ok=True)
    kernel.mount(str(root), str(root), "", MS_BIND)  # pivot_root wants a mount point
    _copy_on_write(points, spec["lowers"], root, changes / "of", kernel)
    kept = _hold(spec["keep"], root, memory, kernel)
    spec["masks"] += _add_top(spec["lowers"], root)
    for mask in spec["masks"]:
        _own(mask, spec, root, kernel)
    _graft("", spec, root, kernel)
    for held, path in kept:
        _bind(held, f"{root}{path}", kernel)
    for bind in spec["binds"]:
        target = f"{root}{bind['target']}"
        if "overlay" in bind:
            _stack(bind["source"], bind["overlay"], target, kernel, read_only=bind["read_only"])
        else:
            _bind(bind["source"], target, kernel, read_only=bind["read_only"])
    return str(root)


def _copy_on_write(
    points: list[str], lowers: list[str], root: Path, changes: Path, kernel: Kernel
) -> None:
    """Show the machine's top folders below the image's layers; writes stay in the container.

    A folder with other file systems mounted below it cannot be shown that way and is bound as it is.
    """
    for entry in os.scandir("/"):
        target = root / entry.name
        if entry.is_symlink():
            target.unlink(missing_ok=True)
            target.symlink_to(Path(entry.path).readlink())
        elif entry.path == "/proc":
            _mount_proc(root, kernel)
        elif entry.is_dir():
            target.mkdir(exist_ok=True)
            whole = not any(point.startswith(entry.path + "/") for point in points)
            if whole and entry.path not in {"/dev", "/sys"}:
                shown = ":".join([*_layered(lowers, entry.path), entry.path])
                overlay(kernel, shown, changes / entry.name, str(target))
            else:
                kernel.mount(entry.path, str(target), "", MS_BIND | MS_REC)


def _add_top(lowers: list[str], root: Path) -> set[str]:
    """Add the top files of an image's layers; return the top folders that only it has."""
    folders = set()
    for entry in (entry for lower in lowers for entry in os.scandir(lower)):
        target = root / entry.name
        if entry.is_dir(follow_symlinks=False):
            folders |= set() if Path("/", entry.name).exists() else {f"/{entry.name}"}
            continue
        target.unlink(missing_ok=True)
        if entry.is_symlink():
            target.symlink_to(Path(entry.path).readlink())
        else:
            target.write_bytes(Path(entry.path).read_bytes())
            target.chmod(entry.stat().st_mode)
    return folders


def _layered(lowers: list[str], path: str) -> list[str]:
    """Return the folders that show a path, topmost first."""
    return [f"{lower}{path}" for lower in reversed(lowers) if Path(f"{lower}{path}").is_dir()]


def _hold(paths: list[str], root: Path, memory: Path, kernel: Kernel) -> list[tuple[str, str]]:
    """Keep a handle on paths that a mask is about to cover, through the copy-on-write root."""
    held: list[tuple[str, str]] = []
    for index, path in enumerate(paths):
        place = memory / f"keep{index}"
        place.mkdir()
        kernel.mount(f"{root}{path}", str(place), "", MS_BIND)
        held.append((str(place), path))
    return held


def _own(path: str, spec: ContainerSpec, root: Path, kernel: Kernel) -> None:
    """Give the container its own, writable version of a folder, holding only the layer's files."""
    lower = Path(spec["layer"] + path)
    lower.mkdir(parents=True, exist_ok=True)
    Path(f"{root}{path}").mkdir(exist_ok=True)
    changes = Path(spec["changes"] or spec["scratch"]) / "own" / path[1:]
    shown = ":".join(_layered([*spec["lowers"], spec["layer"]], path))
    overlay(kernel, shown, changes, f"{root}{path}")


def _graft(path: str, spec: ContainerSpec, root: Path, kernel: Kernel) -> None:
    """Add the layer's files to the machine's folders; one the machine lacks is added whole."""
    for entry in os.scandir(spec["layer"] + path):
        target = f"{path}/{entry.name}"
        if target in spec["masks"]:
            continue
        if not entry.is_dir():
            _bind(entry.path, f"{root}{target}", kernel)
        elif Path(f"{root}{target}").is_dir():
            _graft(target, spec, root, kernel)
        else:
            _own(target, spec, root, kernel)


def _mount_proc(root: Path, kernel: Kernel) -> None:
    (root / "proc").mkdir(exist_ok=True)
    try:
        kernel.mount("proc", f"{root}/proc", "proc")
    except OSError:
        # A container host may mask its /proc, and then forbids a fresh one: the bound one works.
        kernel.mount("/proc", f"{root}/proc", "", MS_BIND | MS_REC)


def _bind(source: str, target: str, kernel: Kernel, *, read_only: bool = False) -> None:
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    kernel.mount(source, target, "", MS_BIND | MS_REC)
    if read_only:
        kernel.mount("none", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY)


def _stack(source: str, options: str, target: str, kernel: Kernel, *, read_only: bool) -> None:
    """Mount a volume's layers, where root may with renames of whole folders."""
    Path(target).mkdir(parents=True, exist_ok=True)
    os.chdir(source)
    flags = MS_RDONLY if read_only else 0
    try:
        renames = "redirect_dir=on,metacopy=off,index=off"
        kernel.mount("overlay", target, "overlay", flags, f"{options},{renames}")
    except OSError:
        kernel.mount("overlay", target, "overlay", flags, f"{options},userxattr")


def raise_network() -> None:
    """Bring the loopback interface up as ``eth0``, where Modal's web_server looks for its host."""
    import fcntl  # noqa: PLC0415 - only containers with an own network need it

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFNAME, struct.pack("16s16s", b"lo", b"eth0"))
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh22x", b"eth0", IFF_UP))


def hand_over(control: socket.socket, sock: socket.socket) -> None:
    """Give the plane a socket that lives in this network."""
    with sock:
        socket.send_fds(control, [b"s"], [sock.fileno()])


def offer_listeners(spec: ContainerSpec, control: socket.socket) -> None:
    """Let the plane serve its own ports inside this network."""
    for port in spec["listen_ports"]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
        hand_over(control, listener)


def become_container(spec: ContainerSpec, kernel: Kernel | None) -> None:
    """Replace this process with the container's command, in its own root folder."""
    if kernel is not None:
        kernel.pivot_root(build_root(spec, kernel))
        if entrypoint := os.fork():
            os._exit(reap_until(entrypoint))
    else:
        os.setsid()
    Path(spec["cwd"]).mkdir(parents=True, exist_ok=True)
    os.chdir(spec["cwd"])
    os.execve(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - an argv list, no shell


def reap_until(entrypoint: int) -> int:
    """As PID 1: pass signals on and collect orphans until the entrypoint ends.

    The entrypoint is not PID 1 itself, because the kernel protects that one from signals that
    programs send themselves.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: os.kill(entrypoint, received))
    while True:
        pid, status = os.wait()
        if pid == entrypoint:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def fork_container(spec: ContainerSpec, kernel: Kernel | None) -> int:
    """Start the container's first process and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        die_with_parent(0, signal.SIGKILL)
        become_container(spec, kernel)
    except BaseException as error:  # noqa: BLE001 - this process must never return
        sys.stderr.write(f"The container could not be started: {error}\n")
        sys.stderr.flush()
    os._exit(125)


def attend(child: int, control: socket.socket | None, parent: int) -> int:
    """Serve socket requests until the child ends; return its exit status as a shell would."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    signal.signal(PLANE_DIED, lambda _received, _frame: os.kill(child, signal.SIGKILL))
    poll = select.poll()
    if control is not None:
        poll.register(control, select.POLLIN)
    if sys.platform == "linux":
        poll.register(os.pidfd_open(child), select.POLLIN)
    while True:
        ready = poll.poll(None if sys.platform == "linux" else 200)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if os.getppid() != parent:
            os.kill(child, signal.SIGKILL)
        if control is not None and any(fd == control.fileno() for fd, _ in ready):
            if not control.recv(1):
                poll.unregister(control)
                control = None
                continue
            hand_over(control, socket.socket(socket.AF_INET, socket.SOCK_STREAM))


def end_strays(child: int) -> None:
    """Without a PID namespace: kill what the container's process group and orphans left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    while children.exists() and (orphans := children.read_text().split()):
        for orphan in orphans:
            os.kill(int(orphan), signal.SIGKILL)
            os.waitpid(int(orphan), 0)


def main(spec_path: str) -> int:
    """Run the container described by a spec file and return its exit status."""
    spec: ContainerSpec = json.loads(Path(spec_path).read_bytes())
    # Without a PID namespace this process must live on for a moment to end what it started.
    die_with_parent(spec["parent"], signal.SIGKILL if spec["namespaces"] else PLANE_DIED)
    kernel: Kernel | None = None
    control = socket.socket(fileno=spec["control_fd"]) if spec["control_fd"] >= 0 else None
    if spec["namespaces"]:
        kernel = Kernel()
        enter_namespaces(spec, kernel)
        if spec["own_network"]:
            raise_network()
            if control is not None:
                offer_listeners(spec, control)
    elif sys.platform == "linux":
        Kernel().prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = fork_container(spec, kernel)
    status = attend(child, control, spec["parent"])
    if kernel is None:
        end_strays(child)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
