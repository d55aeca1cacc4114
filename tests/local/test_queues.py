"""Queues: order, partitions, waiting, limits, and that they hold what was put."""

from __future__ import annotations

import asyncio
import queue
import signal
import threading
import time
from pathlib import Path

import modal
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.local.store.database import Database
from modalkit.local.store.queues import Arrivals, QueueItems
from modalkit.local.store.records import Records

PUT = """
import modal
line = modal.Queue.from_name("line", create_if_missing=True)
line.put_many(["first", "second"])
line.put("aside", partition="other")
"""
TAKE = """
import modal
line = modal.Queue.from_name("line")
print(line.get_many(5, timeout=30), line.get(partition="other", timeout=30), line.len(total=True))
"""
TAKEN = "['first', 'second'] aside 0"


@pytest.fixture
def line(client):
    with modal.Queue.ephemeral(client=client) as held:
        yield held


def test_first_in_first_out_and_partitions_apart(line):
    """Values leave a partition in the order they came, and no other partition is touched."""
    line.put_many([1, 2, 3])
    line.put("aside", partition="other")
    assert (line.get(), line.get_many(5), line.len(), line.len(total=True)) == (1, [2, 3], 0, 1)
    assert line.get(block=False) is None
    assert line.get_many(3, block=False) == []
    assert line.get(partition="other") == "aside"


def test_iterate_leaves_the_values(line):
    """`iterate` shows what is there, more than a page of it, and takes nothing."""
    line.put_many(list(range(250)))
    assert list(line.iterate()) == list(range(250))
    assert line.len() == 250


def test_clear_empties_one_partition_or_all(line):
    """`clear` empties the partition it is told, or with `all` every one."""
    line.put(1)
    line.put(2, partition="a")
    line.put(3, partition="b")
    line.clear(partition="a")
    assert (line.len(), line.len(partition="a"), line.len(total=True)) == (1, 0, 2)
    line.clear(all=True)
    assert line.len(total=True) == 0


def test_an_empty_queue_makes_its_reader_wait(line):
    """A blocking `get` ends with the value put meanwhile, or with `Empty` at its timeout."""
    threading.Timer(0.2, line.put, ["late"]).start()
    assert line.get(timeout=60) == "late"
    with pytest.raises(queue.Empty):
        line.get(timeout=0.1)


def test_iterate_waits_for_the_next_value(line):
    """`iterate` with a poll timeout sees what is put while it waits."""
    line.put("now")
    threading.Timer(0.2, line.put, ["later"]).start()
    seen = line.iterate(item_poll_timeout=60)
    assert [next(seen), next(seen)] == ["now", "later"]


def test_a_partition_ends_after_its_lifetime(line, wait_until):
    """A partition is empty once its `partition_ttl` has passed since the last put."""
    line.put("short", partition="brief", partition_ttl=1)
    line.put("long", partition="lasting")
    assert line.len(partition="brief") == 1
    wait_until(lambda: line.len(partition="brief") == 0, "the partition's end")
    assert list(line.iterate(partition="brief")) == []
    assert line.get(block=False, partition="brief") is None
    assert line.len(total=True) == 1


def test_a_full_partition_refuses_more(line):
    """5,000 items fit into a partition; one more is `Full`, and another partition has room."""
    for _ in range(5):
        line.put_many([0] * 1000)
    with pytest.raises(queue.Full):
        line.put(1, block=False)
    line.put(1, block=False, partition="other")
    line.get()
    line.put(1, block=False)


def test_limits_in_bytes(line):
    """An item has at most 1 MiB and a partition 64 MiB; both say so."""
    with pytest.raises(modal.exception.InvalidError, match="may have 1 MiB"):
        line.put(b"x" * 1024 * 1024)
    nearly = b"x" * 1_000_000
    for _ in range(67):
        line.put(nearly, block=False)
    with pytest.raises(queue.Full, match="64 MiB"):
        line.put(nearly, block=False)


def test_a_queue_survives_kill_9(planes, tmp_path: Path):
    """What was put before the plane was killed is there when the next one starts."""
    first = planes(tmp_path / "state")
    assert first.python(PUT).returncode == 0
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    done = planes(tmp_path / "state").python(TAKE)
    assert TAKEN in done.stdout, done.stdout + done.stderr


def test_a_reader_hears_what_another_plane_puts(tmp_path: Path):
    """Who waits on one plane is woken when another plane puts into the same database."""
    left, right = (Database(tmp_path / "records.db") for _ in range(2))
    Records(left).put("queue", "main", "q", "qu-1", b"")
    arrivals, here = Arrivals(left), QueueItems(left, "qu-1")

    async def take() -> list[bytes]:
        while not (taken := here.take(b"", 1)):
            assert await arrivals.wait("qu-1", time.monotonic() + 60)
        return taken

    async def run() -> list[bytes]:
        reader = asyncio.create_task(take())
        await asyncio.sleep(0.2)
        QueueItems(right, "qu-1").put(b"", [b"value"], 60)
        return await reader

    assert asyncio.run(run()) == [b"value"]
    for database in (left, right):
        database.close()


def test_the_queue_commands(local):
    """`modal queue` creates, lists, peeks, counts, clears and deletes."""
    assert local("python", "-c", PUT).returncode == 0
    assert local("modal", "queue", "create", "empty").returncode == 0
    listed = local("modal", "queue", "list").stdout
    assert "line" in listed
    assert "empty" in listed
    assert "first" in local("modal", "queue", "peek", "line", "2").stdout
    assert local("modal", "queue", "len", "line", "--total").stdout.strip() == "3"
    assert local("modal", "queue", "clear", "line", "--yes").returncode == 0
    assert local("modal", "queue", "len", "line").stdout.strip() == "0"
    assert local("modal", "queue", "delete", "line", "--yes").returncode == 0
    done = local("modal", "queue", "len", "line")
    assert "There is no Queue 'line'" in done.stdout + done.stderr


values = st.binary(max_size=3)
partitions = st.sampled_from([b"", b"a"])
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), partitions, st.lists(values, min_size=1, max_size=4)),
        st.tuples(st.just("take"), partitions, st.integers(1, 5)),
        st.tuples(st.just("clear"), partitions, st.none()),
    ),
    max_size=20,
)


@given(operations)
def test_partitions_behave_like_lists(tmp_path_factory, steps):
    """After any operations each partition holds what a list would, in order."""
    database = Database(tmp_path_factory.mktemp("queue") / "records.db")
    Records(database).put("queue", "main", "q", "qu-1", b"")
    real, model = QueueItems(database, "qu-1"), {b"": [], b"a": []}
    for operation, partition, value in steps:
        if operation == "put":
            real.put(partition, value, 60)
            model[partition] += value
        elif operation == "take":
            assert real.take(partition, value) == model[partition][:value]
            model[partition] = model[partition][value:]
        else:
            real.clear(partition)
            model[partition] = []
        assert [item for _, item in real.look(partition, 0, 99)] == model[partition]
        assert real.size().items == sum(map(len, model.values()))
        assert real.size().partitions == sum(map(bool, model.values()))
    database.close()
