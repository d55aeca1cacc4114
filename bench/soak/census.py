"""What a plane holds of this machine: processes, memory, file handles, mounts, namespaces, folders."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from modal_proto import api_pb2

PAGE = os.sysconf("SC_PAGE_SIZE")
PROGRAM = 2  # in its container, beside PID 1
ARGUMENTS = "__modal/task/arguments.bin"


def children(pid: int) -> list[int]:
    """Return a process's own children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def below(pid: int) -> list[int]:
    """Return a process's descendants."""
    return [one for child in children(pid) for one in (child, *below(child))]


def family(plane: int, state: Path) -> list[int]:
    """Return a plane's processes but itself: containers whose zygote died have another parent.

    What runs in a container has mounted something of the plane's state folder.
    """
    mark = str(state)
    pids = (int(process.name) for process in Path("/proc").glob("[0-9]*"))
    inside = {pid for pid in pids if mark in text(pid, "mountinfo")}
    return sorted(inside.union(below(plane)) - {plane})


def text(pid: int, name: str) -> str:
    """Return a file of /proc about a process; nothing when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    return ""


def namespace(pid: int, kind: str) -> str:
    """Return which namespace of a kind a process is in."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    return ""


def depth(pid: int) -> int:
    """Return how many PID namespaces a process is in: 1 is this machine's own."""
    for line in text(pid, "status").splitlines():
        if line.startswith("NSpid:"):
            return len(line.split()) - 1
    return 0


def number_inside(pid: int) -> int:
    """Return a process's number in its own PID namespace."""
    for line in text(pid, "status").splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return 0


def function_of(pid: int) -> str:
    """Return whose container a process is, by what its entrypoint was told; '' if it is nobody's."""
    with contextlib.suppress(OSError, ValueError):
        told = Path(f"/proc/{pid}/root/{ARGUMENTS}").read_bytes()
        return str(api_pb2.ContainerArguments.FromString(told).function_def.function_name)
    return ""


@dataclass(frozen=True)
class Containers:
    """The processes of a plane that may be killed: each with the name of what it runs."""

    programs: dict[int, str]
    launchers: dict[int, str]

    @classmethod
    def of(cls, plane: int, state: Path) -> Containers:
        """Look at a plane's processes."""
        programs: dict[int, str] = {}
        launchers: dict[int, str] = {}
        for pid in family(plane, state):
            if (name := function_of(pid)) == "":
                continue
            if depth(pid) > depth(plane) and number_inside(pid) == PROGRAM:
                programs[pid] = name
            elif depth(pid) == depth(plane) and "remount.py" not in text(pid, "cmdline"):
                launchers[pid] = name
        return cls(programs, launchers)


@dataclass
class Sample:
    """What there is at one moment.

    Attributes:
        at: Seconds since the soak began.
        rss_mb: The plane's resident memory.
        handles: The plane's open file descriptors.
        processes: The plane's descendants, clients of the soak not counted.
        mounts: Lines of the machine's and the plane's mount tables.
        namespaces: Distinct mount, PID and network namespaces among the plane's processes.
        folders: Container folders and sockets in the plane's run folder.
    """

    at: float
    rss_mb: float
    handles: int
    processes: int
    mounts: int
    namespaces: int
    folders: int
    kinds: dict[str, int] = field(default_factory=dict)

    def fields(self) -> dict[str, object]:
        """Return it for a JSON file."""
        return asdict(self)


def handles(pid: int) -> dict[str, int]:
    """Count a process's open descriptors by what they are."""
    kinds: dict[str, int] = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            kind = str(entry.readlink()).partition("[")[0].partition(":[")[0]
            kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def take(plane: int, state: Path, since: float) -> Sample:
    """Look at everything a plane holds now."""
    everyone = [plane, *family(plane, state)]
    kinds = handles(plane)
    spaces = {namespace(pid, kind) for pid in everyone for kind in ("mnt", "pid", "net")}
    run = state / "run" / str(plane)
    sockets = run / "sockets"
    left = [*run.glob("c[0-9]*"), *sockets.resolve().glob("c[0-9]*")]
    return Sample(
        at=time.monotonic() - since,
        rss_mb=int(text(plane, "statm").split()[1]) * PAGE / 1e6,
        handles=sum(kinds.values()),
        processes=len(everyone) - 1,
        mounts=len(text(os.getpid(), "mountinfo").splitlines())
        + len(text(plane, "mountinfo").splitlines()),
        namespaces=len(spaces - {""}),
        folders=len(left),
        kinds=kinds,
    )


def holders(state: Path, plane: int) -> list[int]:
    """Return every process of this machine that belongs to a plane, wherever it hides.

    That is one that descends from it, or was told of its state folder, or has it mounted.
    """
    mark = str(state)
    found = set(below(plane))
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        told = text(pid, "cmdline") + text(pid, "environ") + text(pid, "mountinfo")
        if pid != os.getpid() and mark in told:
            found.add(pid)
    return sorted(found - {plane})


def slope_per_minute(samples: list[Sample], after_s: float) -> float:
    """Return how many MB of memory a plane gained per minute, by least squares."""
    points = [(sample.at / 60, sample.rss_mb) for sample in samples if sample.at >= after_s]
    if len(points) < 3:
        return 0.0
    middle = sum(minute for minute, _ in points) / len(points)
    level = sum(rss for _, rss in points) / len(points)
    spread = sum((minute - middle) ** 2 for minute, _ in points)
    return sum((minute - middle) * (rss - level) for minute, rss in points) / spread
