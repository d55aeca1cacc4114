"""Commands that run in a sandbox: their streams, their end, and the program that starts them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpclib.const import Status

from ..processes.launcher import read_from, read_pipe
from ..protocol import refuse
from ..waiting import Bell, Latch
from .terminals import END_OF_INPUT, Terminal
from .transcripts import Transcript

__all__ = ["Attendant", "Command", "Order", "with_secrets"]

_LENGTH = struct.Struct("!I")
# `modal container exec` prints in the background, and ends as soon as it knows how the command has
# ended: what was printed by then and is on its way is lost. So whoever reads has a start.
_HEAD_START_S = 0.05
# What a command leaves running may hold its output open, silent or not, for as long as it likes.
_SILENCE_S = 0.5
_LAST_WORDS_S = 10.0
# How far a client's clock may be behind on a loaded machine; nobody waits this long otherwise.
_CLIENTS_CLOCK_S = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """A command to start.

    Attributes:
        environment: All of its variables; they may be secrets.
        keep_stdout: Whether somebody will read its output; otherwise it goes nowhere.
        timeout_s: It is killed after this long; 0 for never.
        terminal: What it sits at; its output is then one stream. None for pipes.
    """

    argv: list[str]
    environment: dict[str, str] = field(repr=False)
    workdir: str
    keep_stdout: bool = True
    keep_stderr: bool = True
    timeout_s: float = 0
    terminal: Terminal | None = None


def with_secrets(
    variables: Mapping[str, str],
    secrets: Iterable[dict[str, str] | str],
    values_of: Callable[[str], dict[str, str]],
) -> dict[str, str]:
    """Return variables with those of secrets, by id or value; later ones win."""
    env = dict(variables)
    for secret in secrets:
        env.update(values_of(secret) if isinstance(secret, str) else secret)
    return env


class Stdin:
    """The way into a program; what was written is counted, so that a lost answer does no harm.

    Args:
        ending: What says that nothing more comes; empty when closing does.
    """

    def __init__(self, writer: asyncio.StreamWriter, ending: bytes = b"") -> None:
        self._writer: asyncio.StreamWriter | None = writer
        self._ending = ending
        self._turn = asyncio.Lock()
        self.written = 0
        self.closed = False

    async def write(self, data: bytes, offset: int, *, last: bool) -> None:
        """Write what is new of ``data``, which belongs at ``offset``; close with ``last``.

        Refuses data after a gap, and data for a program that reads no more.
        """
        async with self._turn:
            if offset > self.written:
                refuse(
                    Status.INVALID_ARGUMENT,
                    f"Input between {self.written} and {offset} is missing.",
                )
            fresh = data[self.written - offset :]
            if fresh:
                await self._pass_on(fresh)
            if last and not self.closed:
                self._end()

    def abandon(self) -> None:
        """The program has ended: only what was written stays known."""
        self.closed = True
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _end(self) -> None:
        self.closed = True
        if self._writer is None:
            return
        if self._ending:
            self._writer.write(self._ending)
        else:
            self._writer.close()

    async def _pass_on(self, data: bytes) -> None:
        try:
            if self.closed or self._writer is None:
                raise BrokenPipeError
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            refuse(Status.FAILED_PRECONDITION, "The program does not read its input any more.")
        self.written += len(data)


@dataclass(eq=False)
class Command:
    """A command that was started.

    Attributes:
        code: Its exit code, or None if a signal ended it or it still runs.
        signal: The number of the signal that ended it.
        overdue: It was killed because its time was over.
    """

    stdin: Stdin
    stdout: Transcript
    stderr: Transcript
    code: int | None = None
    signal: int | None = None
    overdue: bool = False
    ended: Latch = field(default_factory=Latch)
    _readers: int = 0
    _read: Bell = field(default_factory=Bell)
    _ended_at: float = 0

    def how_it_ended(self) -> dict[str, int]:
        """Return ``code`` or ``signal``; nothing while it runs."""
        found = {"code": self.code, "signal": self.signal}
        return {name: number for name, number in found.items() if number is not None}

    async def read(self, *, stderr: bool, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield what it prints from ``offset`` on, until it prints no more."""
        self._readers += 1
        try:
            async for data in (self.stderr if stderr else self.stdout).read(offset):
                yield data
                self._read.ring()
        finally:
            self._readers -= 1
            self._read.ring()

    async def end_of_all(self) -> None:
        """Wait for its end, and until whoever reads it meanwhile has what it printed."""
        await self.ended.wait()
        if self.overdue:
            # A client has its own clock, begun a little later; by that it knows that time was over.
            await asyncio.sleep(_CLIENTS_CLOCK_S)
        if not self._readers and (self.stdout.size or self.stderr.size):
            # A request to read may come after this one, or was answered and is not printed yet.
            await asyncio.sleep(self._ended_at + _HEAD_START_S - time.monotonic())
        if not self._readers:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                while self._readers:
                    await asyncio.wait_for(self._read.next().wait(), _SILENCE_S)
        await asyncio.sleep(_HEAD_START_S)

    def end(self, code: int | None, number: int | None) -> None:
        """It has ended this way."""
        if not self.ended.is_set():
            self.code, self.signal = code, number
            self._ended_at = time.monotonic()
            self.ended.set()
            self.stdin.abandon()


class Attendant:
    """The plane's side of `inside/attendant.py`.

    Args:
        channel: A stream socket whose other end is the attendant's standard input.
        folder: Holds the output of commands.
    """

    def __init__(self, channel: socket.socket, folder: Path) -> None:
        self._channel = channel
        self._folder = folder
        self._turn = asyncio.Lock()
        self._commands: dict[str, Command] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.ready = Latch()

    @property
    def running(self) -> int:
        """How many commands have not ended."""
        return sum(not command.ended.is_set() for command in self._commands.values())

    def find(self, identity: str) -> Command | None:
        """Return a command that was started under this id."""
        return self._commands.get(identity)

    async def start(self, identity: str, order: Order) -> Command:
        """Start a command; under an id that is known, nothing happens again."""
        if identity in self._commands:
            return self._commands[identity]
        if order.terminal is None:
            command, handed = await self._at_pipes(order)
        else:
            command, handed = await self._at_terminal(order.terminal)
        self._commands[identity] = command
        try:
            await self._send(_request(identity, order), handed)
        except OSError:
            command.end(None, signal.SIGKILL)
        finally:
            for descriptor in handed:
                os.close(descriptor)
        if order.timeout_s:
            self._keep(self._kill_after(identity, command, order.timeout_s))
        return command

    def forget(self, identity: str) -> None:
        """Keep nothing of a command that has ended."""
        self._commands.pop(identity, None)

    async def _at_pipes(self, order: Order) -> tuple[Command, list[int]]:
        """Return a command and its three streams, which are pipes."""
        read_stdin, write_stdin = os.pipe()
        stdout, to_stdout = await self._output(kept=order.keep_stdout)
        stderr, to_stderr = await self._output(kept=order.keep_stderr)
        command = Command(Stdin(await _pipe_writer(write_stdin)), stdout, stderr)
        return command, [read_stdin, to_stdout, to_stderr]

    async def _at_terminal(self, terminal: Terminal) -> tuple[Command, list[int]]:
        """Return a command and its three streams, which are one terminal."""
        ours, theirs = terminal.open()
        stdout, stderr = Transcript(self._folder), Transcript(self._folder)
        stderr.end()
        stdin = Stdin(await _pipe_writer(os.dup(ours)), END_OF_INPUT)
        self._keep(stdout.copy(await read_from(ours)))
        return Command(stdin, stdout, stderr), [theirs, os.dup(theirs), os.dup(theirs)]

    async def _kill_after(self, identity: str, command: Command, timeout_s: float) -> None:
        """Kill a command, and what it started, when its time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await command.ended.wait()
        except TimeoutError:
            command.overdue = True
            with contextlib.suppress(OSError):
                await self._send({"id": identity, "signal": int(signal.SIGKILL)}, [])

    async def listen(self) -> None:
        """Take what the attendant says until it is gone; then every command has ended."""
        reader, writer = await asyncio.open_connection(sock=self._channel.dup())
        try:
            while True:
                (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                self._hear(json.loads(await reader.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._channel.close()
            for command in self._commands.values():
                command.end(None, signal.SIGKILL)
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _hear(self, message: dict[str, object]) -> None:
        if "ready" in message:
            self.ready.set()
            return
        code, number = message.get("code"), message.get("signal")
        command = self._commands[str(message["id"])]
        command.end(
            code if isinstance(code, int) else None, number if isinstance(number, int) else None
        )

    async def _send(self, message: dict[str, object], descriptors: list[int]) -> None:
        body = json.dumps(message).encode()
        async with self._turn:
            socket.send_fds(self._channel, [_LENGTH.pack(len(body))], descriptors)
            await asyncio.get_running_loop().sock_sendall(self._channel, body)

    async def _output(self, *, kept: bool) -> tuple[Transcript, int]:
        """Return a transcript, and the descriptor of what will be in it."""
        transcript = Transcript(self._folder)
        if not kept:
            transcript.end()
            return transcript, os.open(os.devnull, os.O_WRONLY)
        stream, write = await read_pipe()
        self._keep(transcript.copy(stream))
        return transcript, write

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _request(identity: str, order: Order) -> dict[str, object]:
    """Return what the attendant is told of a command."""
    terminal = order.terminal
    return {
        "id": identity,
        "argv": order.argv,
        "env": {**order.environment, **(terminal.variables if terminal else {})},
        "cwd": order.workdir,
        "terminal": terminal is not None,
    }


async def _pipe_writer(descriptor: int) -> asyncio.StreamWriter:
    """Return a writer to a pipe; it waits while the pipe is full."""
    loop = asyncio.get_running_loop()
    pipe = os.fdopen(descriptor, "wb", 0)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, pipe)
    return asyncio.StreamWriter(transport, protocol, None, loop)
