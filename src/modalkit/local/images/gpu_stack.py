"""Packages that only make sense with a GPU, and are too large to fetch for nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from .requirements import Installed, parsed

__all__ = ["gpu_constraints", "is_gpu_package", "machine_has_gpu"]

_DATA = Path(__file__).with_name("gpu_stack.json")


@cache
def _names() -> tuple[str, ...]:
    return tuple(json.loads(_DATA.read_text("utf-8"))["names"])


def machine_has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()


def is_gpu_package(line: str) -> bool:
    """Return whether a line of a requirements file asks for such a package."""
    requirement = parsed(line)
    name = re.sub(r"[-_.]+", "-", requirement.name).lower() if requirement else ""
    return any(fnmatchcase(name, pattern) for pattern in _names())


def gpu_constraints(installed: Installed, wanted: Iterable[str]) -> Iterator[str]:
    """Yield lines that keep the installer from fetching one as somebody's dependency.

    One that is here must stay as it is; any other can have no version at all. Packages in
    ``wanted`` were asked for by name and are left to the caller.
    """
    asked = {requirement.name.lower() for line in wanted if (requirement := parsed(line))}
    for name in _names():
        if "*" not in name and name not in asked:
            version = installed.version(name)
            yield f"{name}=={version}" if version else f"{name}<0"
