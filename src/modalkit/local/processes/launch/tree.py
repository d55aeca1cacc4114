"""The process tree of a container: launcher, reaper, program."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .control import ENDED, PID, SOCKET, Control
from .kernel import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    Kernel,
)
from .root import build_root

if TYPE_CHECKING:
    from .spec import ContainerSpec

__all__ = ["fail", "grow"]

SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFNAME = 0x8913, 0x8914, 0x8923
IFF_UP = 0x1
FAILED = 125
UNATTENDED_LOOK_S = 0.2  # how soon a launcher without a control socket sees its parent gone


def grow(spec: ContainerSpec, control: Control) -> None:
    """Make a container around this process; return in its program's process alone.

    The calling process becomes the launcher and ends with the container, with its status.
    """
    control.say(PID, os.getpid())
    try:
        kernel = leave_machine(spec, control)
        launcher = os.getpid()
        if child := os.fork():
            status = attend(child, control, spec)
            if kernel is None:
                end_strays(child)
            control.say(ENDED, status)
            os._exit(status)
        control.close()
        die_with_parent(launcher)
        for group in spec["cgroups"]:
            Path(group).write_text("0")
        if kernel is None:
            os.setsid()
        else:
            enter(spec, kernel)
        Path(spec["cwd"]).mkdir(parents=True, exist_ok=True)
        os.chdir(spec["cwd"])
    except BaseException as error:  # noqa: BLE001 - this process must not return
        control.say(ENDED, FAILED)
        fail(f"The container could not be started: {error}\n")


def fail(reason: str) -> NoReturn:
    """End this process with a word on standard error."""
    os.write(2, reason.encode(errors="replace"))
    os._exit(FAILED)


def leave_machine(spec: ContainerSpec, control: Control) -> Kernel | None:
    """As the launcher: leave the machine's namespaces, or at least look after orphans."""
    if not spec["namespaces"]:
        if sys.platform == "linux":
            Kernel().prctl(PR_SET_CHILD_SUBREAPER, 1)
        return None
    kernel = Kernel()
    enter_namespaces(spec, kernel)
    if spec["own_network"]:
        raise_network()
        for port in spec["listen_ports"]:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
                listener.bind(("127.0.0.1", port))
                listener.listen(64)
                control.say(SOCKET, sock=listener)
    return kernel


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends; end now if it already has."""
    if sys.platform != "linux":
        return
    Kernel().prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # In a new PID namespace getppid() knows no parent; this machine's /proc still does.
    if int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[1]) != parent:
        os._exit(FAILED)


def enter(spec: ContainerSpec, kernel: Kernel) -> None:
    """As PID 1: move into the container's root folder; return in the program's process."""
    kernel.pivot_root(build_root(spec, kernel))
    if program := os.fork():
        os._exit(reap_until(program))


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


def raise_network() -> None:
    """Bring the loopback interface up as ``eth0``, where Modal's web_server looks for its host."""
    import fcntl  # noqa: PLC0415 - only containers with an own network need it

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFNAME, struct.pack("16s16s", b"lo", b"eth0"))
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh22x", b"eth0", IFF_UP))


def reap_until(program: int) -> int:
    """As PID 1: pass signals on and collect orphans until the program ends.

    The program is not PID 1 itself, because the kernel protects that one from signals that
    programs send themselves.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: os.kill(program, received))
    while True:
        pid, status = os.wait()
        if pid == program:
            return shell_status(status)


def attend(child: int, control: Control, spec: ContainerSpec) -> int:
    """Do what the plane says until the child ends; return its exit status as a shell would."""
    parent = os.getppid()
    woken, waker = os.pipe()
    os.set_blocking(waker, False)  # as set_wakeup_fd wants it
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # whoever wants the container to end tells the plane
    while True:
        if (status := reap(child)) is not None:
            return status
        watched = [woken] if control.sock is None else [woken, control.sock.fileno()]
        ready, _, _ = select.select(watched, [], [], None if control.sock else UNATTENDED_LOOK_S)
        if woken in ready:
            os.read(woken, 4096)
        elif ready:
            control.obey(child, partial(visit, spec))
        elif os.getppid() != parent:
            os.kill(child, signal.SIGKILL)


def visit(spec: ContainerSpec, descriptor: int) -> None:
    """As the launcher: start the visitor, which sees what the container sees.

    A launcher's children are in the PID namespace that it made, and `pivot_root` has moved the
    launcher's own root with the container's.
    """
    if os.fork():
        return
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.set_inheritable(descriptor, False)
        nothing = os.open(os.devnull, os.O_WRONLY)
        for copied, place in ((descriptor, 0), (nothing, 1), (nothing, 2)):
            os.dup2(copied, place)
        os.chdir(spec["cwd"])
        os.execve(spec["visitor"][0], spec["visitor"], spec["env"])  # noqa: S606 - an argv list, no shell
    finally:
        os._exit(FAILED)


def reap(child: int) -> int | None:
    """Collect every process that ended; return the child's status if it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while found is None:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return None
            if pid == child:
                found = shell_status(status)
    return found


def end_strays(child: int) -> None:
    """Without a PID namespace: kill what the container's process group and orphans left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    while children.exists() and (orphans := children.read_text().split()):
        for orphan in map(int, orphans):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)


def shell_status(status: int) -> int:
    """Return a wait status as a shell's exit code."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
