"""What lies directly in a state folder: every name once, so that `reset` knows them all.

Nobody joins a name of their own to a state folder; `tests/test_architecture.py` holds that.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

__all__ = ["File", "Folder", "own_files"]


class Folder(StrEnum):
    """The folders of a state folder."""

    FILES = "files"
    """Mounted and copied files by their SHA-256."""

    LAYERS = "layers"
    """File trees put together for containers, by their content."""

    VOLUMES = "volumes"
    """One folder per volume."""

    BUCKETS = "buckets"
    """One folder per cloud bucket."""

    NETWORK = "network"
    """One folder per network file system."""

    IMAGES = "images"
    """What builds of images left."""

    CALLS = "calls"
    """Results of spawned calls."""

    LOGS = "logs"
    """Logs of deployed apps."""

    TLS = "tls"
    """The certificate of this state's tunnels, and whom programs trust."""

    RUN = "run"
    """What one running plane needs: sockets, container folders, blobs."""

    def of(self, state: Path) -> Path:
        """Return where it is in a state folder."""
        return state / self.value


class File(StrEnum):
    """The files of a state folder."""

    RECORDS = "records.db"
    """Named things of every kind, with what dicts and queues hold."""

    NAMESPACES = "namespaces"
    """Under which circumstances this machine was seen to allow namespaces."""

    TOKENS = "tokens.json"
    """What clients and browsers must show."""

    CLIENT_CONFIG = "modal.toml"
    """Stands for the user's own configuration of Modal, which is never read; it need not exist."""

    PLANE_LOCK = "plane.lock"
    """Held by the process that runs the plane."""

    GUESTS_LOCK = "guests.lock"
    """Held, shared, by every command that joined it."""

    PLANE = "plane.json"
    """Where the plane answers."""

    PLANE_DRAFT = "plane.json.new"
    """The next one of those, while it is written."""

    LOG = "plane.log"
    """What a plane of `up --detach` said."""

    ERRORS = "plane.err"
    """What a plane without a terminal printed on standard error."""

    def of(self, state: Path) -> Path:
        """Return where it is in a state folder."""
        return state / self.value


def own_files(state: Path) -> Iterator[Path]:
    """Yield where each file is, or would be, SQLite's own beside the records included."""
    yield from (file.of(state) for file in File)
    yield from (state / f"{File.RECORDS}{ending}" for ending in ("-wal", "-shm"))
