"""Reading weights ahead: from the disk into the page cache, while the model is put together.

transformers maps safetensors files into memory and copies nothing, so a tensor's pages are read where
they are first touched: in small pieces, one after the other, and on a CPU only at the first request.
Reading the same files with several threads keeps the disk busy, and the mapped pages are there already.
Measured beside other ways in bench/results/loading.md. It is the way of what `in_memory` does not take.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["available_bytes", "reading_ahead", "weight_files"]

_THREADS = 4
_PIECE = 4 << 20
_KIB = 1024
_SHARE = 0.8  # of the memory there is; more would push out what was read before


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that transformers will map, in their order; none of other formats."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = dict.fromkeys(json.loads(index.read_text("utf-8"))["weight_map"].values())
    else:
        names = {"model.safetensors": None}
    return [folder / name for name in names if (folder / name).is_file()]


@contextmanager
def reading_ahead(files: Sequence[Path]) -> Iterator[None]:
    """Read files into the page cache during a block, which ends when they are there.

    Files that are larger together than the memory at hand are left alone. An error inside the block
    ends the reading.

    Args:
        files: What will be mapped, in the order in which it is needed.
    """
    sizes = {file: file.stat().st_size for file in files}
    if not files or sum(sizes.values()) > _SHARE * available_bytes():
        yield
        return
    stop = threading.Event()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="read-ahead") as pool:
        pieces = [
            pool.submit(_read, file, begin, stop)
            for file, size in sizes.items()
            for begin in range(0, size, _PIECE)
        ]
        try:
            yield
            for piece in pieces:
                piece.result()
        finally:
            stop.set()


def _read(file: Path, begin: int, stop: threading.Event) -> None:
    """Read a piece of a file and forget it; what matters is that the system has it now."""
    if stop.is_set():
        return
    number = os.open(file, os.O_RDONLY)
    try:
        os.preadv(number, [_room()], begin)
    finally:
        os.close(number)


_rooms = threading.local()


def _room() -> bytearray:
    """This thread's own buffer."""
    if not hasattr(_rooms, "buffer"):
        _rooms.buffer = bytearray(_PIECE)
    buffer: bytearray = _rooms.buffer
    return buffer


def available_bytes() -> int:
    """Return the memory that can be had without swapping; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * _KIB
    return 0
