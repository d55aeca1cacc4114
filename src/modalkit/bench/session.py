"""A whole bench: find the endpoint, get its first answer, keep each load up, put the figures together."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version

from .._values import Value
from ..errors import BenchError
from .cost import best_container, priced
from .finding import Found, Wanted, find
from .lengths import Lengths
from .loads import Stage
from .measuring import Progress, Run
from .probing import ColdReport, Prober, first_answer, fitted
from .report import BenchReport, Price, StageReport
from .summaries import summary
from .target import Target
from .wire import Client
from .workload import Fixed, OpenAIWorkload, Prompt, TypedWorkload, Workload

__all__ = ["Session", "Settings"]

_SEEDS = 1_000_003  # so that stages of one seed send at other moments


class Settings(Value):
    """What a bench is to do.

    Attributes:
        wanted: What was said of the endpoint.
        stages: The loads.
        lengths: How long prompts and answers are.
        prompts: Prompts to send instead.
        bodies: Inputs of a typed route to send instead of made ones.
        content_type: What those are.
        timeout_s: Seconds that a request may take.
        within_s: Seconds in which the endpoint must have answered first.
        extras: Whether to ask for more than every OpenAI server understands, where it does.
        price: What the endpoint costs.
        seed: The same seed sends the same requests at the same moments.
    """

    wanted: Wanted
    stages: tuple[Stage, ...]
    lengths: Lengths
    prompts: tuple[Prompt, ...] = ()
    bodies: tuple[bytes, ...] = ()
    content_type: str = "application/json"
    timeout_s: float = 300.0
    within_s: float = 1800.0
    price: Price | None = None
    seed: int = 0


class Session:
    """A bench under way.

    Args:
        target: The endpoint.
        settings: What to do.
        tell: Told how far each load is.
        say: Told, in a line, what goes on between them.
    """

    def __init__(
        self,
        target: Target,
        settings: Settings,
        tell: Callable[[Progress], None],
        say: Callable[[str], None],
    ) -> None:
        self._target, self._settings, self._tell, self._say = target, settings, tell, say
        self._run: Run | None = None
        self._interrupted = False
        self._began_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._stages: list[StageReport] = []

    async def report(self) -> BenchReport:
        """Do it all. Ctrl-C ends the load under way, and what was measured is reported.

        Raises:
            BenchError: There is nothing to measure.
        """
        _allow_open_files()
        prober = Prober(self._target, self._settings.within_s)
        try:
            self._say(f"asking {self._target.url}")
            found = await find(prober, self._settings.wanted)
            workload, cold = await first_answer(prober, self._workload(found))
            self._say(_first(cold))
            workload = await fitted(prober, workload)
        finally:
            prober.close()
        with self._ends_on_ctrl_c():
            await self._measure(workload)
        if not any(one.requests for one in self._stages):
            msg = (
                "Nothing was measured: it was ended before a request of the measured time was due."
            )
            raise BenchError(msg)
        return self._whole(found, workload, cold)

    def _workload(self, found: Found) -> Workload:
        settings, target = self._settings, self._target
        if settings.bodies:
            return Fixed(target, found.path, found.method, settings.bodies, settings.content_type)
        if found.kind == "route":
            return TypedWorkload(
                target, found.path, found.method, found.schema, found.document, seed=settings.seed
            )
        return OpenAIWorkload(
            target,
            found.path,
            found.kind,
            model=found.model,
            lengths=settings.lengths,
            prompts=settings.prompts,
            seed=settings.seed,
        )

    async def _measure(self, workload: Workload) -> None:
        client = Client(self._target, self._settings.timeout_s)
        try:
            for number, stage in enumerate(self._settings.stages):
                if self._interrupted:
                    return
                seed = self._settings.seed * _SEEDS + number
                self._run = Run(client, workload, stage, self._tell, seed)
                measured = await self._run.measured()
                found = summary(measured, self._target.without_secrets)
                self._stages.append(priced(found, self._settings.price))
        finally:
            self._run = None
            client.close()

    @contextmanager
    def _ends_on_ctrl_c(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        self._interrupted = True
        if self._run is not None:
            self._run.stop()

    def _whole(self, found: Found, workload: Workload, cold: ColdReport) -> BenchReport:
        settings = self._settings
        containers = settings.price.containers if settings.price else 1
        return BenchReport(
            modalkit=version("modalkit"),
            began_at=self._began_at,
            target=self._target.origin + found.path,
            kind=found.kind,
            model=found.model,
            workload=workload.title,
            warm_up_s=max((one.warm_up_s for one in settings.stages), default=0.0),
            seed=settings.seed,
            machine=f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}",
            cold=cold,
            price=settings.price,
            stages=tuple(self._stages),
            container=best_container(self._stages, containers, cold),
            interrupted=self._interrupted,
            notes=tuple(_notes(workload)),
        )


def _allow_open_files() -> None:
    """Let this process have as many connections as it may, which is often more than it has at first."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems say more than they allow
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _first(cold: ColdReport) -> str:
    if cold.was_cold:
        return f"cold start: {cold.start_s:.1f} s to the first answer, which takes {cold.warm_answer_s:.2f} s when warm"
    return f"warm: the first answer took {cold.first_answer_s:.2f} s, the next {cold.warm_answer_s:.2f} s"


def _notes(workload: Workload) -> Iterator[str]:
    if not isinstance(workload, OpenAIWorkload):
        return
    if not workload.extras.ignore_eos:
        yield "The server does not understand ignore_eos: answers may be shorter than was asked for."
    if not workload.extras.usage:
        yield "The server does not count tokens of a stream: each piece that came counts as one."
