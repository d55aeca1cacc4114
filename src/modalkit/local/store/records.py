"""Named things on disk, whatever their kind: secrets, volumes, dicts, queues, deployed apps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from .database import Database

__all__ = ["Record", "Records"]

_COLUMNS = "kind, environment, name, id, created_at, body"
_INSERT = (
    f"INSERT INTO records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants alone
    "ON CONFLICT (kind, environment, name) DO UPDATE"
)
_RETURNING = f"RETURNING {_COLUMNS}"


@dataclass(frozen=True, slots=True)
class Record:
    """One named thing.

    Attributes:
        created_at: Seconds since the epoch; writing it again does not change this.
        body: What the kind keeps: a protobuf message or JSON. It may hold secrets.
    """

    kind: str
    environment: str
    name: str
    id: str
    created_at: float
    body: bytes = field(repr=False)


class Records:
    """The records of one database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, kind: str, environment: str, name: str, identity: str, body: bytes) -> Record:
        """Write a record; one of the same name gets this id and body."""
        values = (kind, environment, name, identity, time.time(), body)
        return self._all(
            f"{_INSERT} SET id = excluded.id, body = excluded.body {_RETURNING}", values
        )[0]

    def add(self, kind: str, environment: str, name: str, identity: str, body: bytes) -> Record:
        """Write a record unless one of that name is there; return the one that is there then."""
        values = (kind, environment, name, identity, time.time(), body)
        return self._all(f"{_INSERT} SET name = excluded.name {_RETURNING}", values)[0]

    def by_name(self, kind: str, environment: str, name: str) -> Record | None:
        """Return the record of that name, if there is one."""
        return self._first("kind = ? AND environment = ? AND name = ?", kind, environment, name)

    def by_id(self, identity: str) -> Record | None:
        """Return the record with that id, if there is one."""
        return self._first("id = ?", identity)

    def list_all(self, kind: str, environment: str) -> list[Record]:
        """Return an environment's records of a kind, newest first."""
        return self._where("kind = ? AND environment = ?", kind, environment)

    def rename(self, identity: str, name: str) -> None:
        """Give a record another name, which must be free."""
        self.database.execute("UPDATE records SET name = ? WHERE id = ?", (name, identity))

    def change_kind(self, identity: str, kind: str) -> None:
        """Make a record one of another kind, in which its name must be free."""
        self.database.execute("UPDATE records SET kind = ? WHERE id = ?", (kind, identity))

    def delete(self, identity: str) -> None:
        """Forget a record and what belongs to it; forgetting one that is not there is fine."""
        self.database.execute("DELETE FROM records WHERE id = ?", (identity,))

    def move_environment(self, environment: str, to: str) -> None:
        """Put everything of an environment into another, which must be empty."""
        self.database.execute(
            "UPDATE records SET environment = ? WHERE environment = ?", (to, environment)
        )

    def delete_environment(self, environment: str) -> None:
        """Forget everything of an environment."""
        self.database.execute("DELETE FROM records WHERE environment = ?", (environment,))

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def _first(self, condition: str, *values: str) -> Record | None:
        return next(iter(self._where(condition, *values)), None)

    def _where(self, condition: str, *values: str) -> list[Record]:
        return self._all(
            f"SELECT {_COLUMNS} FROM records WHERE {condition} ORDER BY created_at DESC",  # noqa: S608 - `condition` is written above, never given
            values,
        )

    def _all(self, sql: str, values: Sequence[str | float | bytes]) -> list[Record]:
        rows = self.database.execute(sql, values)
        return [Record(*cast("tuple[str, str, str, str, float, bytes]", row)) for row in rows]
