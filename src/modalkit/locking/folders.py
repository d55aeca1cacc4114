"""The files of a model folder with their hashes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from ..errors import LockError
from ..lock import LockedFile
from ..lock.hashing import Progress, hashed
from ..lock.weight_files import WEIGHT_FILES
from ..sizing.stored import header_of

__all__ = ["folder_files"]

_POINTER = b"version https://git-lfs"
_SHOWN = 4  # problems in a message


def folder_files(folder: Path, progress: Progress | None = None) -> tuple[LockedFile, ...]:
    """Return every file of a folder, sorted by name, hidden ones left out.

    Raises:
        LockError: There is no such folder, a file cannot be read, or weights are not whole: files that
            the index names are missing, cut off, or Git LFS pointers.
    """
    if not folder.is_dir():
        msg = f"The model folder {str(folder)!r} does not exist. Write a folder beside the file."
        raise LockError(msg)
    try:
        names = [
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        ]
        shown = sorted(filter(_is_shown, names))
        if problems := list(_not_whole(folder, shown)):
            more = f" And {len(problems) - _SHOWN} more." if problems[_SHOWN:] else ""
            msg = f"The model folder {str(folder)!r} is not whole. {' '.join(problems[:_SHOWN])}{more} Fetch it again."
            raise LockError(msg)
        return hashed(folder, shown, progress)
    except OSError as error:
        msg = f"{error.filename!r} cannot be read: {error.strerror}."
        raise LockError(msg) from error


def _is_shown(name: str) -> bool:
    return not any(part.startswith(".") for part in name.split("/"))


def _not_whole(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """What of a folder's weights is missing or cut off, a sentence each."""
    for weights in WEIGHT_FILES:
        index = f"{weights}.index.json"
        if index in names:
            yield from _not_there(folder / index, names)
            break
        if weights in names:
            break
    for name in _read_by_engines(names):
        if problem := _cut_off(folder / name):
            yield f"{name} {problem}."


def _read_by_engines(names: Sequence[str]) -> list[str]:
    """The safetensors files, which come first; where there are none, those of the older format."""
    found = [name for name in names if name.endswith(".safetensors")]
    return found or [name for name in names if fnmatch(name, "pytorch_model*.bin")]


def _not_there(index: Path, names: Sequence[str]) -> Iterator[str]:
    try:
        named = json.loads(index.read_text("utf-8"))["weight_map"]
    except (ValueError, TypeError, KeyError) as error:
        yield f"{index.name} does not read as an index ({type(error).__name__})."
        return
    if not isinstance(named, Mapping):
        yield f"{index.name} does not read as an index (its weight_map is {type(named).__name__}, not an object)."
        return
    if missing := sorted(set(map(str, named.values())).difference(names)):
        yield f"{index.name} names {', '.join(missing[:_SHOWN])}, which {'is' if len(missing) == 1 else 'are'} not there."


def _cut_off(path: Path) -> str:
    """Why a file holds no whole weights, by its first bytes and its size; empty if nothing speaks against it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
    if start == _POINTER:
        return "is a Git LFS pointer, not the weights"
    if start[8:9] != b"{":
        return ""  # no safetensors: whether an engine can read it is not known here
    length = 8 + int.from_bytes(start[:8], "little")
    try:
        tensors = {name: one for name, one in header_of(path).items() if name != "__metadata__"}
        length += max((int(one["data_offsets"][1]) for one in tensors.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return "has a safetensors header that cannot be read"
    return f"is cut off: {size:,} bytes of {length:,}" if size < length else ""
