"""How many bytes of weights a model's folder holds: from the files' headers, or the index alone.

Only the files that the index names count: a repository may hold the same weights again in
``original/`` or ``metal/``. Nothing of a file but its header is read.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

__all__ = ["stored_bytes"]

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_LONGEST_HEADER = 100 * 1024**2  # the format's own limit


def stored_bytes(folder: Path) -> int:
    """Return the bytes of a folder's safetensors weights, by the files' own headers.

    Where a file that the index names is not there yet, the index's ``total_size`` counts.

    Returns:
        0 where there is neither, or nothing that reads as safetensors: then the config alone counts,
        and whether the files are whole is for the lock to find out.
    """
    try:
        return _in_folder(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error):
        return 0


def _in_folder(folder: Path) -> int:
    index = folder / _INDEX
    if not index.is_file():
        return _in_file(folder / _SINGLE)
    described: dict[str, Any] = json.loads(index.read_text("utf-8"))
    files = sorted(set(described["weight_map"].values()))
    if all((folder / name).is_file() for name in files):
        return sum(_in_file(folder / name) for name in files)
    return int(described["metadata"]["total_size"])


def _in_file(path: Path) -> int:
    """Bytes of the tensors of one file, by its header: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _LONGEST_HEADER:
            raise ValueError(length)
        header: dict[str, Any] = json.loads(file.read(length))
    ends = (one["data_offsets"][1] for name, one in header.items() if name != "__metadata__")
    return max(ends, default=0)
