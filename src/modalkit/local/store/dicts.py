"""What Dicts hold: keys and values in a database, in the order they were first put."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from .database import Database

__all__ = ["DictEntries"]

_PAGE = 100


class DictEntries:
    """The entries of one Dict; keys and values are bytes that only clients understand."""

    def __init__(self, database: Database, dict_id: str) -> None:
        self._database = database
        self._id = dict_id

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None when there is no such key."""
        rows = self._database.execute(
            "SELECT value FROM dict_entries WHERE dict_id = ? AND key = ?", (self._id, key)
        )
        return cast("bytes", rows[0][0]) if rows else None

    def put(self, entries: Iterable[tuple[bytes, bytes]], *, only_new: bool = False) -> bool:
        """Set entries, all or none; with ``only_new``, leave keys that are there as they are.

        Returns whether any of the keys is new.
        """
        created = False
        with self._database.transaction():
            newest = self._database.execute("SELECT max(position) FROM dict_entries")[0][0] or 0
            for key, value in entries:
                rows = self._database.execute(
                    "INSERT INTO dict_entries (dict_id, key, value) VALUES (?, ?, ?) "
                    "ON CONFLICT (dict_id, key) DO UPDATE SET value = excluded.value WHERE ? "
                    "RETURNING position",
                    (self._id, key, value, not only_new),
                )
                created = created or any(cast("int", row[0]) > cast("int", newest) for row in rows)
        return created

    def pop(self, key: bytes) -> bytes | None:
        """Take a value out, or return None when there is no such key."""
        rows = self._database.execute(
            "DELETE FROM dict_entries WHERE dict_id = ? AND key = ? RETURNING value",
            (self._id, key),
        )
        return cast("bytes", rows[0][0]) if rows else None

    def length(self) -> int:
        """Count the entries."""
        rows = self._database.execute(
            "SELECT count(*) FROM dict_entries WHERE dict_id = ?", (self._id,)
        )
        return cast("int", rows[0][0])

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Go through the entries; what changes meanwhile may or may not be seen."""
        position = 0
        while rows := self._database.execute(
            "SELECT position, key, value FROM dict_entries "
            "WHERE dict_id = ? AND position > ? ORDER BY position LIMIT ?",
            (self._id, position, _PAGE),
        ):
            for found, key, value in cast("list[tuple[int, bytes, bytes]]", rows):
                position = found
                yield key, value

    def clear(self) -> None:
        """Remove every entry."""
        self._database.execute("DELETE FROM dict_entries WHERE dict_id = ?", (self._id,))
