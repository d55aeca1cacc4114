"""What Queues hold: values in partitions, first in, first out, each partition with its own end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from grpclib.const import Status

from ..protocol import refuse
from .database import Database

__all__ = ["Arrivals", "QueueItems", "QueueSize"]

# Modal's limits for one Queue.
_PARTITIONS = 100_000
_ITEMS = 5_000
_ITEM_BYTES = 1024 * 1024
_PARTITION_BYTES = 64 * 1024 * 1024
_DEFAULT_LIFETIME_S = 24 * 3600
# How soon a waiting reader notices what another plane put.
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class QueueSize:
    """How much a queue holds."""

    partitions: int
    items: int


class QueueItems:
    """The items of one Queue; an expired partition is empty."""

    def __init__(self, database: Database, queue_id: str) -> None:
        self._database = database
        self._id = queue_id

    def put(self, partition: bytes, values: Sequence[bytes], lifetime_s: int) -> None:
        """Append values, all or none; the partition lives this long from now.

        Refuses an item or a partition over Modal's limits.
        """
        largest = max(map(len, values), default=0)
        if largest > _ITEM_BYTES:
            refuse(
                Status.INVALID_ARGUMENT,
                f"An item of a Queue may have 1 MiB, this one has {largest:,} bytes. "
                "Put large data into a Volume or a Dict and its name into the Queue.",
            )
        with self._database.transaction():
            self._drop_expired()
            self._check_room(partition, values)
            self._database.execute(
                "INSERT INTO queue_partitions (queue_id, partition, expires_at) VALUES (?, ?, ?) "
                "ON CONFLICT (queue_id, partition) DO UPDATE SET expires_at = excluded.expires_at",
                (self._id, partition, time.time() + (lifetime_s or _DEFAULT_LIFETIME_S)),
            )
            for value in values:
                self._database.execute(
                    "INSERT INTO queue_items (queue_id, partition, value) VALUES (?, ?, ?)",
                    (self._id, partition, value),
                )

    def take(self, partition: bytes, most: int) -> list[bytes]:
        """Take up to ``most`` of the oldest values out."""
        if not self._live(partition, 0, 1):  # an empty queue is often asked: take no lock for it
            return []
        with self._database.transaction():
            rows = self._live(partition, 0, most)
            last = rows[-1][0] if rows else 0
            mine = (self._id, partition)
            self._database.execute(
                "DELETE FROM queue_items WHERE queue_id = ? AND partition = ? AND number <= ?",
                (*mine, last),
            )
            self._database.execute(
                "DELETE FROM queue_partitions WHERE queue_id = ? AND partition = ? "
                "AND NOT EXISTS (SELECT 1 FROM queue_items WHERE queue_id = ? AND partition = ?)",
                (*mine, *mine),
            )
        return [value for _number, value in rows]

    def look(self, partition: bytes, after: int, most: int) -> list[tuple[int, bytes]]:
        """Return up to ``most`` values behind a number, each with its own, and leave them."""
        return self._live(partition, after, most)

    def length(self, partition: bytes) -> int:
        """Count a partition's values."""
        return self._count("AND partition = ?", partition)

    def size(self) -> QueueSize:
        """Count everything."""
        self._drop_expired()
        partitions = self._database.execute(
            "SELECT count(*) FROM queue_partitions WHERE queue_id = ?", (self._id,)
        )
        return QueueSize(cast("int", partitions[0][0]), self._count(""))

    def clear(self, partition: bytes | None) -> None:
        """Empty a partition; with None, all of them."""
        self._database.execute(
            "DELETE FROM queue_partitions WHERE queue_id = ? AND (partition = ? OR ?)",
            (self._id, partition or b"", partition is None),
        )

    def _live(self, partition: bytes, after: int, most: int) -> list[tuple[int, bytes]]:
        rows = self._database.execute(
            "SELECT number, value FROM queue_items "
            "JOIN queue_partitions USING (queue_id, partition) "
            "WHERE queue_id = ? AND partition = ? AND number > ? AND expires_at > ? "
            "ORDER BY number LIMIT ?",
            (self._id, partition, after, time.time(), most),
        )
        return cast("list[tuple[int, bytes]]", rows)

    def _count(self, condition: str, *values: bytes) -> int:
        rows = self._database.execute(
            "SELECT count(*) FROM queue_items JOIN queue_partitions USING (queue_id, partition) "  # noqa: S608 - `condition` is written above, never given
            f"WHERE queue_id = ? AND expires_at > ? {condition}",
            (self._id, time.time(), *values),
        )
        return cast("int", rows[0][0])

    def _check_room(self, partition: bytes, values: Sequence[bytes]) -> None:
        held = self._database.execute(
            "SELECT count(*), coalesce(sum(length(value)), 0) FROM queue_items "
            "WHERE queue_id = ? AND partition = ?",
            (self._id, partition),
        )
        items, size = cast("tuple[int, int]", held[0])
        if items + len(values) > _ITEMS:
            refuse(Status.RESOURCE_EXHAUSTED, f"The partition is full ({_ITEMS} items).")
        if size + sum(map(len, values)) > _PARTITION_BYTES:
            refuse(Status.RESOURCE_EXHAUSTED, "The partition is full (64 MiB).")
        if not items and self.size().partitions >= _PARTITIONS:
            refuse(Status.RESOURCE_EXHAUSTED, f"The queue is full ({_PARTITIONS} partitions).")

    def _drop_expired(self) -> None:
        self._database.execute(
            "DELETE FROM queue_partitions WHERE queue_id = ? AND expires_at <= ?",
            (self._id, time.time()),
        )


class Arrivals:
    """Wakes those who wait for a queue: at once when this plane puts, soon when another does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events: dict[str, asyncio.Event] = {}
        self._waiting = 0
        self._watch: asyncio.Task[None] | None = None

    def announce(self, queue_id: str) -> None:
        """Wake those who wait for this queue."""
        if event := self._events.pop(queue_id, None):
            event.set()

    async def wait(self, queue_id: str, deadline: float) -> bool:
        """Wait until a look is worthwhile; False when the deadline (monotonic) has passed."""
        if time.monotonic() >= deadline:
            return False
        event = self._events.setdefault(queue_id, asyncio.Event())
        self._waiting += 1
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_others())
        try:
            with contextlib.suppress(TimeoutError):  # then the caller takes a last look
                async with asyncio.timeout(deadline - time.monotonic()):
                    await event.wait()
        finally:
            self._waiting -= 1
        return True

    async def _watch_others(self) -> None:
        """Wake everyone when another plane has changed the database, while someone waits."""
        seen = None  # a change may have come before the first look: wake once at the start
        while self._waiting:
            if (generation := self._database.generation) != seen:
                seen = generation
                for queue_id in list(self._events):
                    self.announce(queue_id)
            await asyncio.sleep(_POLL_S)
        self._events.clear()
