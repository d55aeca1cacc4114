"""SQLite as the local Modal uses it: a schema that grows, and errors a person can act on."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import LocalModalError
from .migrations import MIGRATIONS, Row

__all__ = ["Database"]

_BUSY_S = 10.0
# What SQLite takes at once for its index; with less free, its I/O errors mean a full disk.
_LEAST_FREE = 64 * 1024


class Database:
    """One connection to a database file; several planes may use the same file at once.

    Args:
        path: Made when missing, readable by its owner only.

    Raises:
        LocalModalError: The file is damaged, out of reach, or written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained():
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._migrate()

    @property
    def generation(self) -> int:
        """A number that changes when another connection has changed the file."""
        return int(str(self.execute("PRAGMA data_version")[0][0]))

    def execute(self, sql: str, values: Sequence[str | float | bytes] = ()) -> list[Row]:
        """Run one statement and return its rows.

        Raises:
            LocalModalError: The disk is full, or the file cannot be used any more.
        """
        with self._explained():
            return self._connection.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what happens inside happen whole or not at all."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _migrate(self) -> None:
        if self._version() == len(MIGRATIONS):
            return
        with self.transaction():  # another plane may have been first
            version = self._version()
            if version > len(MIGRATIONS):
                msg = (
                    f"{str(self._path)!r} was written by a newer modalkit (its layout is "
                    f"{version}, this version knows {len(MIGRATIONS)}). Update modalkit, or use "
                    "another folder with --state."
                )
                raise LocalModalError(msg)
            for step in MIGRATIONS[version:]:
                step(self.execute)
            self.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _version(self) -> int:
        return int(str(self.execute("PRAGMA user_version")[0][0]))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite says about the file into what a person can do about it."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # about a statement, not about the file
        except sqlite3.DatabaseError as error:
            raise LocalModalError(_explanation(self._path, error)) from error
        except OSError as error:
            msg = f"{str(self._path)!r} cannot be opened ({error.strerror}). {_ELSEWHERE}"
            raise LocalModalError(msg) from error


_ELSEWHERE = "Make its folder writable for you, or use another with --state."


def _explanation(path: Path, error: sqlite3.DatabaseError) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return (
            f"The local Modal's records in {str(path)!r} cannot be read ({error}). Use another "
            "folder with --state, or move that file away to start afresh; the files of volumes "
            f"stay in {str(path.parent / 'volumes')!r}."
        )
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _is_full(path)):
        return (
            f"The disk that holds {str(path)!r} is full: this change was not made, earlier ones "
            "are safe. Free some space, or use another folder with --state."
        )
    if name.startswith("SQLITE_BUSY"):
        return (
            f"Another process holds {str(path)!r} for more than {_BUSY_S:.0f} s. "
            "End it, or use another folder with --state."
        )
    return f"{str(path)!r} cannot be used ({error}). {_ELSEWHERE}"


def _is_full(path: Path) -> bool:
    return shutil.disk_usage(path.parent).free < _LEAST_FREE
