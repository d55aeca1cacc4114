"""What a plane keeps on disk besides volumes, images and apps: every store, on one state folder."""

from __future__ import annotations

from pathlib import Path

from .blobs import Blobs
from .environments import Environments
from .files import FileStore
from .mounts import Mounts
from .secrets import Secrets
from .state import State

__all__ = ["Storage"]


class Storage:
    """The stores of one state folder.

    Args:
        folder: Made when missing.

    Raises:
        LocalModalError: The folder cannot be written, or its records cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self.files = FileStore(self.state.files, self.state.layers)
        self.blobs = Blobs(self.state.blobs, self.files)
        self.mounts = Mounts(self.state.records)
        self.secrets = Secrets(self.state.records)
        self.environments = Environments(self.state.records)
