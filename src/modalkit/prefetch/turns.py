"""Two runs on one file system take turns; the second finds what the first has done.

A Volume shows each container a view of its own, so there a lock reaches no one else. It needs none:
both runs end with the same verified files under the same names, whoever commits last.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import WeightsError
from .layout import parts_path
from .parts import disk_problem, is_full

__all__ = ["turn"]

_LOOK_S = 0.25


@contextmanager
def turn(root: Path, model: str) -> Iterator[Iterator[None]]:
    """Hold a model of a cache until the block ends; also when the process is killed.

    Yields:
        What to iterate over first: it ends when it is this run's turn.

    Raises:
        WeightsError: The cache cannot be written.
    """
    path = root / parts_path(model).with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        msg = f"The cache at {str(root)!r} cannot be written: {error.strerror}. It must be mounted, and not read-only."
        if is_full(error):
            msg = disk_problem(path.name, path, error)
        raise WeightsError(msg) from error
    try:
        yield _until_free(number)
    finally:
        os.close(number)


def _until_free(number: int) -> Iterator[None]:
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield
            time.sleep(_LOOK_S)
        except OSError:  # a file system without locks
            return
        else:
            return
