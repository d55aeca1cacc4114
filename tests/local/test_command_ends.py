"""When a command's end is told: after those who read it have what it printed."""

from __future__ import annotations

import asyncio
import selectors
import socket

import pytest

from modalkit.local.sandboxes.commands import Command, Stdin
from modalkit.local.sandboxes.transcripts import Transcript


async def ended_command(tmp_path, *, printed: bytes, still_open: bool = False) -> Command:
    """A command that has printed something and ended; ``still_open``: it left a program behind."""
    ours, _theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    command = Command(Stdin(writer), Transcript(tmp_path), Transcript(tmp_path))
    command.stdout.write(printed)
    command.stderr.end()
    if not still_open:
        command.stdout.end()
    command.end(0, None)
    return command


class Leaping(selectors.DefaultSelector):
    """What an event loop waits with: where nothing happens, time leaps to when something is due."""

    leapt_s = 0.0

    def select(self, timeout=None):
        happened = super().select(0 if timeout else timeout)
        if timeout and not happened:
            self.leapt_s += timeout
        return happened


def run_leaping(main) -> None:
    """Run a coroutine without waiting for time to pass."""
    selector = Leaping()
    loop = asyncio.SelectorEventLoop(selector)
    begun = loop.time()
    loop.time = lambda: begun + selector.leapt_s
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


@pytest.mark.parametrize("readers", [1, 2])
def test_its_end_is_told_after_all_it_printed_was_read(tmp_path, readers):
    """Readers that take their time have everything before the exit code is known."""
    told: list[str] = []

    async def read_slowly(command: Command) -> None:
        async for piece in command.read(stderr=False, offset=0):
            await asyncio.sleep(0.01)
            told.append(f"{len(piece)}")

    async def tell(command: Command) -> None:
        await command.end_of_all()
        told.append("ended")

    async def main() -> None:
        command = await ended_command(tmp_path, printed=b"x" * 1000)
        reading = [asyncio.create_task(read_slowly(command)) for _ in range(readers)]
        await asyncio.gather(*reading, asyncio.create_task(tell(command)))

    asyncio.run(main())
    assert told == ["1000"] * readers + ["ended"]


def test_its_end_is_told_although_its_output_stays_open(tmp_path):
    """A program that the command left behind keeps its output open and silent: nobody waits for that."""

    async def main() -> bool:
        command = await ended_command(tmp_path, printed=b"started", still_open=True)
        reading = asyncio.create_task(anext(command.read(stderr=False, offset=7), None))
        await asyncio.sleep(0)
        await command.end_of_all()
        still_reading = not reading.done()
        command.stdout.end()
        await reading
        return still_reading

    assert asyncio.run(main())


def test_nobody_who_reads_is_not_waited_for(tmp_path):
    """Of a command that printed nothing the end is told in the same turn of the event loop."""

    async def main() -> bool:
        command = await ended_command(tmp_path, printed=b"", still_open=True)
        waiting = asyncio.create_task(command.end_of_all())
        await asyncio.sleep(0)
        return waiting.done()

    assert asyncio.run(main())


def test_a_reader_who_comes_after_the_one_who_waits_is_waited_for(tmp_path):
    """A request to read may arrive second: it still has everything before the exit code is known."""

    async def main() -> bool:
        command = await ended_command(tmp_path, printed=b"seen")
        waiting = asyncio.create_task(command.end_of_all())
        await asyncio.sleep(0)
        async for _ in command.read(stderr=False, offset=0):
            read_before_the_end = not waiting.done()
        await waiting
        return read_before_the_end

    assert asyncio.run(main())


def test_a_client_whose_clock_is_late_knows_by_it_that_time_was_over(tmp_path):
    """Of a command that was killed at its timeout the end is told later, but it is told."""

    async def main() -> None:
        command = await ended_command(tmp_path, printed=b"")
        command.overdue = True
        waiting = asyncio.create_task(command.end_of_all())
        done, _ = await asyncio.wait([waiting], timeout=8)
        assert not done
        await waiting

    run_leaping(main())
