"""One load, kept up and watched."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Literal

from .answers import Answer
from .headroom import Headroom, HeadroomWatch
from .loads import Stage, poisson
from .pacing import Pacer
from .percentiles import quantile
from .wire import Client
from .workload import Workload

__all__ = ["Measured", "Progress", "Run"]

_TICK_S = 0.02
_TELL_S = 0.2
_PAUSE_S = 0.1  # after a failure, so that a client does not hammer at what refuses it
_HOPELESS = 20  # failures without an answer after which no warm-up is waited for
_MOST_UNDER_WAY = 8192


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is.

    Attributes:
        stage: The load.
        phase: What goes on.
        share: Of the measured time or requests, 0 to 1.
        answered: Good answers, warm-up included.
        failed: Others.
        under_way: Requests without an answer yet.
        requests_per_s: Answers of the last seconds.
        tokens_per_s: Tokens of these answers.
        first_ms: Their median time to the first token, or to the answer; None before there is one.
    """

    stage: Stage
    phase: Literal["warm-up", "measuring", "finishing", "done"]
    share: float
    answered: int
    failed: int
    under_way: int
    requests_per_s: float
    tokens_per_s: float
    first_ms: float | None


@dataclass(slots=True)
class Measured:
    """What one load came to.

    Attributes:
        stage: The load.
        answers: Those of the requests that were due in the measured time.
        before: Those of the warm-up, whose tokens may fall into it.
        begun: When the measured time began, by ``time.perf_counter``.
        ended: When it ended; answers that came later count, but not as throughput.
        headroom: The generator's own.
        interrupted: Whether it was ended early.
        dropped: Requests that were due but not sent, since too many were under way.
    """

    stage: Stage
    begun: float
    ended: float
    headroom: Headroom
    answers: list[Answer] = field(default_factory=list)
    before: list[Answer] = field(default_factory=list)
    interrupted: bool = False
    dropped: int = 0


class Run:
    """Keeps one load up.

    Args:
        client: Sends.
        workload: What is sent.
        stage: The load and how long.
        tell: Told how far it is, a few times a second.
        seed: Of the moments at which an open loop sends.
    """

    def __init__(
        self,
        client: Client,
        workload: Workload,
        stage: Stage,
        tell: Callable[[Progress], None],
        seed: int = 0,
    ) -> None:
        self._client, self._workload, self._stage, self._tell = client, workload, stage, tell
        self._chance = random.Random(seed)  # noqa: S311 - moments, not secrets
        self._answers: list[Answer] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._recent: deque[Answer] = deque(maxlen=256)
        self._begun = float("inf")
        self._due = 0  # requests of the measured time
        self._answered = self._failed = self._under_way = self._dropped = 0
        self._closing = self._stopped = False
        self._told = 0.0

    def stop(self) -> None:
        """End now; what was measured is kept."""
        self._stopped = True

    async def measured(self) -> Measured:
        """Load the endpoint and return what was seen."""
        gc.collect()
        gc.disable()  # a collection among millions of moments would be seen as lag
        watch, opened = HeadroomWatch(), self._client.opened
        pacer = None
        try:
            pacer = self._start()
            await self._warm_up()
            watch.start()
            self._begun = time.perf_counter()
            ended = await self._until_done()
            self._closing = True
            headroom = watch.stop(
                [(one.intended, one.sent) for one in self._answers if one.intended >= self._begun],
                self._client.opened - opened,
            )
            await self._finish()
        finally:
            self._closing = True
            if pacer is not None:
                pacer.end()
            watch.cancel()
            gc.enable()
        self._report("done", 1.0)
        return self._result(ended, headroom)

    def _start(self) -> Pacer | None:
        load = self._stage.load
        if load.rate is not None:
            pacer = Pacer(poisson(load.rate, self._chance), self._send_due)
            pacer.start()
            return pacer
        for _ in range(load.concurrency or 1):
            self._spawn(self._one_after_the_other())
        return None

    def _spawn(self, work: Coroutine[object, object, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send_due(self, due: float) -> None:
        """A moment of an open loop has come: send, whatever is still under way."""
        if self._closing or self._is_full(due):
            return
        if self._under_way >= _MOST_UNDER_WAY:
            self._dropped += due >= self._begun
            return
        self._spawn(self._asked(self._begin(due)))

    async def _one_after_the_other(self) -> None:
        while not self._closing:
            now = time.perf_counter()
            if self._is_full(now):
                return
            if (await self._asked(self._begin(now))).failure:
                await asyncio.sleep(_PAUSE_S)

    def _is_full(self, due: float) -> bool:
        wanted = self._stage.requests
        return wanted is not None and due >= self._begun and self._due >= wanted

    def _begin(self, due: float) -> Answer:
        """Count a request at once: several may be due in one turn of the event loop."""
        answer = Answer(due)
        self._answers.append(answer)
        self._due += due >= self._begun
        self._under_way += 1
        return answer

    async def _asked(self, answer: Answer) -> Answer:
        try:
            await self._client.ask(self._workload.next(), answer)
        finally:
            self._under_way -= 1
        answer.body = b""
        if answer.failure:
            self._failed += 1
        else:
            self._answered += 1
            self._recent.append(answer)
        return answer

    async def _warm_up(self) -> None:
        """Wait until the load has been there for long enough, and every client has had an answer."""
        if not self._stage.warm_up_s:
            return
        began, clients = time.perf_counter(), self._stage.load.concurrency or 1
        while not self._stopped:
            passed = time.perf_counter() - began
            hopeless = not self._answered and self._failed >= _HOPELESS
            if hopeless or (passed >= self._stage.warm_up_s and self._answered >= clients):
                return
            self._report("warm-up", min(1.0, passed / self._stage.warm_up_s))
            await asyncio.sleep(_TICK_S)

    async def _until_done(self) -> float:
        """Wait until enough is measured; return when the measured time ended."""
        seconds, wanted = self._stage.duration_s, self._stage.requests
        while not self._stopped:
            passed = time.perf_counter() - self._begun
            if seconds is not None and passed >= seconds:
                return self._begun + seconds
            if wanted is not None and self._due >= wanted and not self._under_way:
                break
            share = passed / seconds if seconds else (self._due - self._under_way) / (wanted or 1)
            self._report("measuring", min(1.0, max(0.0, share)))
            await asyncio.sleep(_TICK_S)
        return time.perf_counter()

    async def _finish(self) -> None:
        """Wait for the answers still under way, unless it was stopped."""
        while self._tasks and not self._stopped:
            self._report("finishing", 1.0)
            await asyncio.wait(self._tasks, timeout=_TELL_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _result(self, ended: float, headroom: Headroom) -> Measured:
        whole = [one for one in self._answers if one.ended]  # the others were ended by the user
        counted = [one for one in whole if one.intended >= self._begun]
        if self._stage.requests is not None and not self._stopped:
            ended = max((one.ended for one in counted), default=ended)
        return Measured(
            stage=self._stage,
            begun=self._begun,
            ended=ended,
            headroom=headroom,
            answers=[one for one in counted if one.intended < ended],
            before=[one for one in whole if one.intended < self._begun],
            interrupted=self._stopped,
            dropped=self._dropped,
        )

    def _report(
        self, phase: Literal["warm-up", "measuring", "finishing", "done"], share: float
    ) -> None:
        now = time.perf_counter()
        if now - self._told < _TELL_S and phase != "done":
            return
        self._told = now
        recent = [one for one in self._recent if now - one.ended < 5]  # noqa: PLR2004 - seconds
        span = max(0.5, now - min((one.ended for one in recent), default=now))
        firsts = sorted(one.stamps[0] - one.intended for one in recent if one.stamps)
        self._tell(
            Progress(
                stage=self._stage,
                phase=phase,
                share=share,
                answered=self._answered,
                failed=self._failed,
                under_way=self._under_way,
                requests_per_s=len(recent) / span,
                tokens_per_s=sum(one.tokens_out for one in recent) / span,
                first_ms=quantile(firsts, 0.5) * 1000 if firsts else None,
            )
        )
