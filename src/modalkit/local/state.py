"""What outlives a command: one folder with a small database of records, and files beside it.

    STATE/
      records.db     named secrets, volumes, dicts, queues and deployed apps (SQLite, mode 0600)
      files/         mounted and copied files by their SHA-256
      layers/        file trees put together for containers, by their content
      volumes/ID/    one folder per volume
      buckets/NAME/  one folder per cloud bucket
      run/PID/       what one running plane needs: sockets, container folders, blobs

The folder is readable by its owner only, because secrets live in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import LocalModalError

__all__ = ["Record", "Records", "State", "default_state_folder", "remove_tree"]

# A Unix socket's path may have about 100 letters, its file's name included.
_SOCKET_FOLDER_LIMIT = 80
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL,
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (kind, environment, name)
)
"""


def default_state_folder() -> Path:
    """Return where state lives unless told otherwise: the user's data folder."""
    if chosen := os.environ.get("XDG_DATA_HOME"):
        return Path(chosen) / "modalkit" / "local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "modalkit" / "local"
    return Path.home() / ".local" / "share" / "modalkit" / "local"


@dataclass(frozen=True, slots=True)
class Record:
    """One named thing.

    Attributes:
        created_at: Seconds since the epoch.
        body: What the kind keeps: a protobuf message or JSON.
    """

    kind: str
    environment: str
    name: str
    id: str
    created_at: float
    body: bytes


class Records:
    """Named things on disk; several planes may use the same folder at once."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        try:
            self._database = sqlite3.connect(path, timeout=10, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(_SCHEMA)
        except sqlite3.DatabaseError as error:
            msg = (
                f"The local Modal's records in {str(path)!r} cannot be read ({error}). "
                "Use another folder with --state, or move that file away to start afresh."
            )
            raise LocalModalError(msg) from error

    def put(self, kind: str, environment: str, name: str, identity: str, body: bytes) -> Record:
        """Write a record, replacing one of the same name."""
        record = Record(kind, environment, name, identity, time.time(), body)
        self._database.execute(
            "INSERT OR REPLACE INTO records (kind, environment, name, id, created_at, body) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (kind, environment, name, identity, record.created_at, body),
        )
        return record

    def by_name(self, kind: str, environment: str, name: str) -> Record | None:
        """Return the record of that name, if there is one."""
        return self._one("kind = ? AND environment = ? AND name = ?", kind, environment, name)

    def by_id(self, identity: str) -> Record | None:
        """Return the record with that id, if there is one."""
        return self._one("id = ?", identity)

    def list_all(self, kind: str, environment: str) -> list[Record]:
        """Return an environment's records of a kind, newest first."""
        return list(self._select("kind = ? AND environment = ?", kind, environment))

    def rename(self, identity: str, name: str) -> None:
        """Give a record another name."""
        self._database.execute("UPDATE records SET name = ? WHERE id = ?", (name, identity))

    def delete(self, identity: str) -> None:
        """Forget a record; forgetting one that is not there is fine."""
        self._database.execute("DELETE FROM records WHERE id = ?", (identity,))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _one(self, where: str, *values: str) -> Record | None:
        return next(self._select(where, *values), None)

    def _select(self, where: str, *values: str) -> Iterator[Record]:
        rows = self._database.execute(
            "SELECT kind, environment, name, id, created_at, body FROM records "  # noqa: S608 - `where` is written above, never given
            f"WHERE {where} ORDER BY created_at DESC",
            values,
        )
        return (Record(*row) for row in rows.fetchall())


class State:
    """The state folder of one plane.

    Args:
        folder: Made when missing, with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            msg = (
                f"The state folder {str(folder)!r} cannot be made ({error.strerror}). "
                "Name another with --state DIR."
            )
            raise LocalModalError(msg) from error
        self._remove_abandoned_runs()
        self.run = self._sub("run") / str(os.getpid())
        _remove_run(self.run)
        self.run.mkdir(mode=0o700)
        self.sockets = self.run / "sockets"
        if len(str(self.sockets)) < _SOCKET_FOLDER_LIMIT:
            self.sockets.mkdir()
        else:
            short = Path(tempfile.mkdtemp(prefix="modalkit-"))
            self.sockets.symlink_to(short)
            self.sockets = short
        self.files = self._sub("files")
        self.layers = self._sub("layers")
        self.volumes = self._sub("volumes")
        self.buckets = self._sub("buckets")
        self.blobs = self.run / "blobs"
        self.blobs.mkdir()
        self.records = Records(self.folder / "records.db")

    def close(self) -> None:
        """Close the records and remove what only this plane needed."""
        self.records.close()
        _remove_run(self.run)

    def _sub(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def _remove_abandoned_runs(self) -> None:
        """Clean up after planes that were killed."""
        for run in self._sub("run").iterdir():
            try:
                os.kill(int(run.name), 0)
            except ProcessLookupError:
                _remove_run(run)
            except (PermissionError, ValueError):
                continue


def _remove_run(run: Path) -> None:
    sockets = run / "sockets"
    if sockets.is_symlink():
        remove_tree(sockets.readlink())
    remove_tree(run)


def remove_tree(path: Path) -> None:
    """Remove a folder, with the unreadable work folder an overlay mount leaves behind."""
    for root, folders, _files in os.walk(path):
        for name in folders:
            with contextlib.suppress(OSError):
                (Path(root) / name).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
