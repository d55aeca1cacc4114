"""This machine's GPUs, handed to containers one by one and never to two at once.

A device is taken by holding a lock on a file, so that several local Modals on one machine keep out
of each other's way; the lock goes with the process that held it, however that ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["Gpu", "Gpus", "Lease", "find_gpus"]

_LOG = logging.getLogger("modalkit.local")
_LISTING_TIMEOUT_S = 20.0
_DRIVER = Path("/proc/driver/nvidia/gpus")
_LISTED = re.compile(r"GPU (?P<index>\d+): (?P<model>.*) \(UUID: (?P<uuid>[^)]+)\)")
_LISTED_SLICE = re.compile(r"\s+(?P<model>MIG .*?)\s+Device\s+\d+: \(UUID: (?P<uuid>[^)]+)\)")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device.

    Attributes:
        name: What ``CUDA_VISIBLE_DEVICES`` calls it: its number, or a slice's UUID.
        model: Such as ``NVIDIA H100 80GB HBM3``.
    """

    name: str
    model: str
    uuid: str


def find_gpus() -> list[Gpu]:
    """Return this machine's GPUs, as far as this process may use them."""
    found = list(_listed() if shutil.which("nvidia-smi") else _known_to_driver())
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return found
    names = [name.strip() for name in allowed.split(",")]
    return [gpu for gpu in found if gpu.name in names or gpu.uuid in names]


def _listed() -> Iterator[Gpu]:
    """Ask NVIDIA's own command; slices of a device stand for the device."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"],  # noqa: S607 - where it is differs between machines
            capture_output=True,
            text=True,
            timeout=_LISTING_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.debug("No GPUs: %s", error)
        return
    whole: Gpu | None = None
    for line in done.stdout.splitlines():
        if piece := _LISTED_SLICE.match(line):
            whole = None
            yield Gpu(piece["uuid"], piece["model"], piece["uuid"])
        elif device := _LISTED.match(line):
            if whole is not None:
                yield whole
            whole = Gpu(device["index"], device["model"], device["uuid"])
    if whole is not None:
        yield whole


def _known_to_driver() -> Iterator[Gpu]:
    """Read what the driver says, on a machine without NVIDIA's command."""
    for index, path in enumerate(sorted(_DRIVER.glob("*/information"))):
        lines = (line.partition(":") for line in path.read_text().splitlines())
        told = {name.strip(): value.strip() for name, _, value in lines}
        yield Gpu(str(index), told.get("Model", "GPU"), told.get("GPU UUID", path.parent.name))


@dataclass(frozen=True, slots=True)
class Lease:
    """Devices that one container has."""

    devices: tuple[Gpu, ...] = ()
    locks: tuple[int, ...] = ()

    def variables(self) -> dict[str, str]:
        """Return the variables that show a program these devices and no other."""
        names = ",".join(gpu.name for gpu in self.devices)
        return {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": names,
            "NVIDIA_VISIBLE_DEVICES": names or "void",
        }

    def release(self) -> None:
        """Give the devices back; to be called once."""
        for lock in self.locks:
            os.close(lock)


class Gpus:
    """The devices of this machine, and which are free.

    Args:
        find: Returns all of them; asked when the first is wanted.
        locks: A folder that every local Modal of this machine shares.
    """

    def __init__(
        self, find: Callable[[], Sequence[Gpu]] = find_gpus, locks: Path | None = None
    ) -> None:
        self._find = find
        self._locks = locks or Path(tempfile.gettempdir()) / "modalkit-gpus"

    @cached_property
    def devices(self) -> tuple[Gpu, ...]:
        """All devices."""
        return tuple(self._find())

    @property
    def likely(self) -> bool:
        """Whether this machine seems to have any, without asking for them."""
        return bool(shutil.which("nvidia-smi")) or _DRIVER.exists()

    def take(self, count: int) -> Lease | None:
        """Take so many free devices, or as many as the machine has; None when too few are free."""
        wanted = min(count, len(self.devices))
        taken: list[tuple[Gpu, int]] = []
        for gpu in self.devices:
            if len(taken) == wanted:
                break
            if (lock := self._lock(gpu)) is not None:
                taken.append((gpu, lock))
        lease = Lease(tuple(gpu for gpu, _ in taken), tuple(lock for _, lock in taken))
        if len(taken) == wanted:
            return lease
        lease.release()
        return None

    def _lock(self, gpu: Gpu) -> int | None:
        """Take a device, unless something else has it."""
        if not self._locks.exists():
            self._locks.mkdir(exist_ok=True)
            self._locks.chmod(0o1777)
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW
        path = self._locks / f"{re.sub(r'[^A-Za-z0-9-]', '_', gpu.uuid)}.lock"
        descriptor = os.open(path, flags, 0o644)  # other users only read it, and lock it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor
