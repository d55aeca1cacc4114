"""Laws of the parts that everything else stands on."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modalkit.local.apps.logs import AppLog
from modalkit.local.calls.calls import ChunkStream
from modalkit.local.ids import content_id, input_token
from modalkit.local.protocol import api
from modalkit.local.sandboxes.transcripts import Transcript
from modalkit.local.store.files import FileStore
from modalkit.local.waiting import Bell, Latch


@given(st.lists(st.binary(max_size=20), max_size=30), st.integers(0, 30))
def test_a_stream_gives_back_what_was_put_in_order(payloads, after):
    """A reader gets every chunk above its number once, in order, bounded or not."""

    async def roundtrip(*, bounded: bool) -> list[bytes]:
        stream = ChunkStream(bounded=bounded)
        await stream.put([api.DataChunk(data=data) for data in payloads])
        stream.close()
        return [chunk.data async for chunk in stream.read(after, until_closed=True)]

    for bounded in (True, False):
        assert asyncio.run(roundtrip(bounded=bounded)) == payloads[after:]


def test_a_full_stream_makes_its_writer_wait():
    """A bounded stream holds its writer until a reader has caught up."""

    async def run() -> bool:
        stream = ChunkStream(bounded=True)
        large = api.DataChunk(data=b"x" * (17 * 1024 * 1024))
        writer = asyncio.create_task(stream.put([large]))
        await asyncio.sleep(0)
        waited = not writer.done()
        reader = stream.read()
        await anext(reader)
        follower = asyncio.create_task(anext(reader))
        await writer
        follower.cancel()
        return waited

    assert asyncio.run(run())


def test_a_stream_with_room_makes_its_writer_wait_for_nothing():
    """What a stream takes is acknowledged at once until it is full, and always when it is not bounded."""

    async def waits(*, bounded: bool) -> list[bool]:
        stream = ChunkStream(bounded=bounded)
        large = b"x" * (9 * 1024 * 1024)
        rooms = [stream.take([api.DataChunk(data=large)]) for _ in range(2)]
        stream.close()
        for room in filter(None, rooms):
            await room
        return [room is not None for room in rooms]

    assert asyncio.run(waits(bounded=True)) == [False, True]
    assert asyncio.run(waits(bounded=False)) == [False, False]


@given(st.integers(0, 2**31 - 1))
def test_an_input_token_carries_its_index(index):
    """The client reads ``idx`` from the middle of three parts."""
    payload = input_token(index).split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) == {
        "idx": index
    }


@given(st.binary(), st.binary())
def test_ids_by_content_are_equal_for_equal_content(left, right):
    """Two contents share an id exactly when they are the same."""
    assert (content_id("im", left) == content_id("im", right)) == (left == right)


def test_a_log_is_followed_while_it_grows_and_ends_with_its_app():
    """A follower gets what was written before and after it came, then the end."""

    async def run() -> list[str]:
        log = AppLog()
        log.write("first", task_id="ta", function_id="fu", stderr=False)
        texts = []
        async for batch in log.follow("", 60):
            texts += [item.data for item in batch.items]
            if texts == ["first"]:
                log.write("second", task_id="ta", function_id="fu", stderr=True)
                log.finish()
        return texts

    assert asyncio.run(run()) == ["first", "second"]


def test_a_layer_is_made_once_for_the_same_files(tmp_path: Path):
    """The same files at the same paths share a tree; another path is another tree."""
    for name in ("files", "layers"):
        (tmp_path / name).mkdir()
    store = FileStore(tmp_path / "files", tmp_path / "layers")
    store.put("ab12", b"content")
    entry = api.MountFile(sha256_hex="ab12", mode=0o755)

    async def run() -> tuple[Path, Path, Path]:
        first, second = await asyncio.gather(
            store.layer([("/x", entry)]), store.layer([("/x", entry)])
        )
        return first, second, await store.layer([("/y", entry)])

    first, second, other = asyncio.run(run())
    assert first == second != other
    assert (first / "x").read_bytes() == b"content"
    assert (first / "x").stat().st_mode & 0o777 == 0o755


def test_a_bell_wakes_those_who_waited_and_nobody_later():
    """Everybody who waits hears one ring; who comes after it waits for the next."""

    async def listen() -> None:
        bell = Bell()
        bell.ring()  # nobody hears it, and it does not wait for anybody
        first, second = bell.next(), bell.next()
        bell.ring()
        assert first.is_set()
        assert second.is_set()
        assert not bell.next().is_set()

    asyncio.run(listen())


@given(pieces=st.lists(st.binary(max_size=20_000), max_size=6), offset=st.integers(0, 100_000))
def test_a_transcript_gives_back_what_was_printed(tmp_path_factory, pieces, offset):
    """Everything from an offset on comes back, whether it is short or needs a file."""

    async def roundtrip() -> bytes:
        transcript = Transcript(tmp_path_factory.getbasetemp())
        for piece in pieces:
            transcript.write(piece)
        transcript.end()
        return b"".join([piece async for piece in transcript.read(offset)])

    assert asyncio.run(roundtrip()) == b"".join(pieces)[offset:]


def test_a_latch_lets_everybody_go_once_it_has_fallen():
    """Whoever waits goes on, and whoever comes later does not wait."""

    async def run() -> bool:
        latch = Latch()
        waiting = [asyncio.create_task(latch.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        early = [task.done() for task in waiting]
        latch.set()
        await asyncio.gather(*waiting)
        await latch.wait()
        return latch.is_set() and not any(early)

    assert asyncio.run(run())


def test_a_log_in_memory_stays_bounded():
    """The oldest of what was printed goes, whether there is much of it or it is large; the newest stays."""
    many, large = AppLog(), AppLog()
    for number in range(20_010):
        many.write(f"{number}\n", task_id="ta-1", function_id="fu-1", stderr=False)
    for number in range(40):
        large.write(f"{number}" + "x" * 1024**2, task_id="ta-1", function_id="fu-1", stderr=False)
    kept = [batch.items[0].data for batch in many.tail(30_000)]
    assert (len(kept), kept[0], kept[-1]) == (20_000, "10\n", "20009\n")
    kept = [batch.items[0].data for batch in large.tail(30_000)]
    assert len(kept) == 15
    assert kept[-1].startswith("39x")
