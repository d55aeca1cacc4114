"""What a state folder holds, and its removal: what `modalkit local reset` shows and does."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ...errors import LocalModalError
from .places import File, Folder, own_files
from .state import living_planes, remove_tree

__all__ = ["Holdings", "describe", "erase"]

_SHOWN = ("app", "volume", "network file system", "secret", "dict", "queue")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a state folder holds.

    Attributes:
        counts: How many apps, volumes, network file systems, secrets, dicts and queues; empty when
            the records are missing or cannot be read.
        size_bytes: What its files take.
        planes: Process ids of the local Modals that use it now.
    """

    folder: Path
    counts: dict[str, int]
    size_bytes: int
    planes: tuple[int, ...]


def describe(folder: Path) -> Holdings:
    """Look at a state folder, which need not exist, without changing it."""
    folder = folder.expanduser().absolute()
    return Holdings(folder, _counts(folder), _size(folder), tuple(living_planes(folder)))


def erase(folder: Path) -> None:
    """Remove everything a local Modal keeps in a folder, and the folder if nothing else is there.

    Raises:
        LocalModalError: A local Modal uses it now, or something cannot be removed.
    """
    folder = folder.expanduser().absolute()
    if planes := living_planes(folder):
        pids = ", ".join(map(str, planes))
        msg = (
            f"{str(folder)!r} is in use by a local Modal (process {pids}). "
            "Stop it first: modalkit local down."
        )
        raise LocalModalError(msg)
    for name in Folder:
        remove_tree(name.of(folder))
    for file in own_files(folder):
        file.unlink(missing_ok=True)
    if left := [name.of(folder) for name in Folder if name.of(folder).exists()]:
        msg = f"{str(left[0])!r} cannot be removed; look at its permissions."
        raise LocalModalError(msg)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _counts(folder: Path) -> dict[str, int]:
    path = File.RECORDS.of(folder)
    if not path.exists():
        return {}
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            found = dict(database.execute("SELECT kind, count(*) FROM records GROUP BY kind"))
    except sqlite3.DatabaseError:
        return {}
    return {kind: found[kind] for kind in _SHOWN if kind in found}


def _size(folder: Path) -> int:
    total = 0
    for root, _folders, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # it went away meanwhile
                total += (Path(root) / name).lstat().st_blocks * 512
    return total
