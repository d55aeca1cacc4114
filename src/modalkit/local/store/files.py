"""Files sent by the client, kept once by their SHA-256, and the trees containers see them in."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..protocol import api
from .state import remove_tree

__all__ = ["FileStore"]

_PLAIN_MODE = 0o644


class FileStore:
    """The ``files`` and ``layers`` folders of the state.

    Args:
        files: Holds each file's bytes under its hash.
        layers: Holds trees of hard links to them.
    """

    def __init__(self, files: Path, layers: Path) -> None:
        self._files = files
        self._layers = layers
        self._building: dict[str, asyncio.Lock] = {}

    def path(self, sha256: str) -> Path:
        """Return where a file's bytes are kept."""
        return self._files / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Return whether a file is here already."""
        return self.path(sha256).exists()

    def put(self, sha256: str, data: bytes) -> None:
        """Keep a file's bytes."""
        path = self.path(sha256)
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_bytes(data)
        partial.chmod(_PLAIN_MODE)
        partial.rename(path)

    def adopt(self, sha256: str, source: Path) -> None:
        """Keep a file that was uploaded to ``source``."""
        path = self.path(sha256)
        path.parent.mkdir(exist_ok=True)
        source.chmod(_PLAIN_MODE)
        source.replace(path)

    async def layer(self, placed: Iterable[tuple[str, api.MountFile]]) -> Path:
        """Return a folder with each file at its path; made once for the same files."""
        files = dict(placed)
        recipe = "\n".join(
            f"{path} {entry.sha256_hex} {entry.mode:o}" for path, entry in sorted(files.items())
        )
        name = hashlib.sha256(recipe.encode()).hexdigest()[:32]
        lock = self._building.setdefault(name, asyncio.Lock())
        async with lock:
            path = self._layers / name
            if not path.exists():
                await asyncio.to_thread(self._build, path, files)
            return path

    def _build(self, path: Path, files: dict[str, api.MountFile]) -> None:
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        remove_tree(partial)
        (partial / "root").mkdir(parents=True)
        for name, entry in files.items():
            target = partial / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.place(entry, target)
        if path.exists():  # another plane was faster
            remove_tree(partial)
        else:
            partial.rename(path)

    def place(self, entry: api.MountFile, target: Path, *, shared: bool = True) -> None:
        """Put a kept file at a path: a hard link if ``shared``, unless its permissions are unusual."""
        source = self.path(entry.sha256_hex)
        mode = entry.mode & 0o777 or _PLAIN_MODE
        if shared and mode == _PLAIN_MODE:
            os.link(source, target)
        else:
            shutil.copyfile(source, target)
            target.chmod(mode)
