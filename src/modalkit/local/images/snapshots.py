"""Snapshots: the files of running containers as images, which nothing can build again.

One that was removed is hidden, and its files stay while anything is based on them: the layers of a
snapshot that was taken of a sandbox of another begin with that one's.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ...errors import LocalModalError
from ..ids import new_id
from ..protocol import api
from ..store.records import Records
from ..store.state import remove_tree
from .built import Built
from .folders import make_current

__all__ = ["Snapshots"]

_KIND, _REMOVED = "image snapshot", "removed image snapshot"

Packing = Callable[[Path, threading.Event], None]
"""Makes a layer at a path, and gives up when the event is set."""


class Snapshots:
    """The snapshots of a state folder.

    Args:
        folder: Holds every image.

    Attributes:
        under_way: Ids of those that are being taken, with their container's image.
    """

    def __init__(self, records: Records, folder: Path) -> None:
        self._records = records
        self._folder = folder
        self.under_way: dict[str, str] = {}

    def has(self, image_id: str) -> bool:
        """Return whether there is such a snapshot."""
        return self._kind(image_id) == _KIND

    def was_removed(self, image_id: str) -> bool:
        """Return whether it was removed, and is only there for what is based on it."""
        return self._kind(image_id) == _REMOVED

    def all(self) -> set[str]:
        """Return the ids of those that were not removed."""
        return {record.id for record in self._records.list_all(_KIND, "")}

    def removed(self) -> set[str]:
        """Return the ids of those that were removed and whose files are still there."""
        return {record.id for record in self._records.list_all(_REMOVED, "")}

    def remove(self, image_id: str) -> None:
        """Hide one; its files stay."""
        self._records.change_kind(image_id, _REMOVED)

    async def forget(self, image_id: str) -> None:
        """Remove the files of a hidden one, on which nothing is based any more."""
        await asyncio.to_thread(remove_tree, self._folder / image_id)
        self._records.delete(image_id)

    async def take(self, base_id: str, base: Built, lowers: Iterable[str], pack: Packing) -> str:
        """Keep the files that ``pack`` makes a layer of; return the id of the image they are.

        They are on top of ``lowers``, and the image on top of ``base``.

        Raises:
            LocalModalError: They could not be kept. Nothing of them is left then, as when this is
                cancelled.
        """
        image_id = new_id("im")
        self.under_way[image_id] = base_id
        try:
            await self._copy(image_id, base, lowers, pack)
            below = [api.BaseImage(docker_tag="base", image_id=base_id)] if base_id else []
            body = api.Image(base_images=below).SerializeToString()
            self._records.put(_KIND, "", image_id, image_id, body)
        except BaseException as error:
            await asyncio.to_thread(remove_tree, self._folder / image_id)
            if isinstance(error, OSError):
                msg = f"The container's files could not be kept: {error}"
                raise LocalModalError(msg) from error
            raise
        finally:
            del self.under_way[image_id]
        return image_id

    async def _copy(self, image_id: str, base: Built, lowers: Iterable[str], pack: Packing) -> None:
        """Make the snapshot's build; when this is cancelled, no thread writes into it any more."""
        build = self._folder / image_id / secrets.token_hex(4)
        build.mkdir(mode=0o700, parents=True)
        layer = build / "files"
        stopped = threading.Event()
        copying = asyncio.ensure_future(asyncio.to_thread(pack, layer, stopped))
        try:
            await asyncio.shield(copying)
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.gather(copying, return_exceptions=True)
            raise
        layers = (*lowers, str(layer))
        make_current(build, replace(base.above(build.name), layers=layers))

    def _kind(self, image_id: str) -> str:
        record = self._records.by_id(image_id) if image_id else None
        return record.kind if record is not None else ""
