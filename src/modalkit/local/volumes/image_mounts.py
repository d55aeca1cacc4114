"""Images that are mounted in running containers, over folders of theirs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grpclib.const import Status

from ..protocol import refuse
from .exchange import FilesOpenError, cover, uncover

if TYPE_CHECKING:
    from ..containers.container import Container

__all__ = ["ImageMounts"]


@dataclass
class ImageMounts:
    """Which paths of which containers show an image; what is written there stays in the container."""

    _paths: dict[Container, set[str]] = field(default_factory=dict)

    async def put(self, container: Container, path: str, layers: Iterable[str]) -> None:
        """Show layers, the lowest first, at a path; in the place of an image that is there."""
        if path in self._paths.get(container, ()):
            await self.take_away(container, path)
        folder = container.folder / "images" / secrets.token_hex(4)
        for name in ("upper", "work", "empty"):
            (folder / name).mkdir(parents=True)
        lower = ":".join([*reversed([*layers]), "empty"])
        options = f"lowerdir={lower},upperdir=upper,workdir=work"
        await asyncio.to_thread(cover, _process(container), path, folder, options)
        self._paths.setdefault(container, set()).add(path)

    async def take_away(self, container: Container, path: str) -> None:
        """Show what was at a path before; refuse where no image is mounted or its files are in use."""
        if path not in self._paths.get(container, ()):
            refuse(Status.NOT_FOUND, f"No image is mounted at {path!r} in {container.id!r}.")
        try:
            await asyncio.to_thread(uncover, _process(container), path)
        except FilesOpenError as error:
            refuse(
                Status.FAILED_PRECONDITION,
                f"The image at {path!r} cannot be unmounted while its files are in use: {error}",
            )
        self._paths[container].discard(path)

    def paths(self, container: Container) -> set[str]:
        """Return where a container shows images."""
        return set(self._paths.get(container, ()))

    def release(self, container: Container) -> set[str]:
        """Forget the mounts of a container that has ended; return their paths."""
        return self._paths.pop(container, set())


def _process(container: Container) -> int:
    if container.namespace_pid is None:
        refuse(Status.NOT_FOUND, f"The container {container.id!r} has ended.")
    return container.namespace_pid
