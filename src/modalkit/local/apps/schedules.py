"""Schedules of apps: fired on time, never twice at once, and never lost in silence.

An app of `modal run`, `modal serve` or `app.run()` has its schedules fire while it runs, as on Modal.
Those of deployed apps fire while a plane stays up. A firing of theirs that was due while no plane ran is reported when one starts, not made up for: what it
would have done may be out of date. `modalkit local tick` fires one by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ...errors import LocalModalError
from ..calls.calls import Calls, FunctionCall
from ..protocol import api
from .apps import App, Apps
from .deployments import SCHEDULE, Deployments
from .functions import FunctionEntry
from .timetable import Timetable, timetable_of

__all__ = ["Missed", "Schedules", "Upcoming"]

# The clock may be set, and a laptop may sleep: look at it this often whatever was planned.
_LONGEST_SLEEP_S = 20.0
_COUNTED = 1000
_KEPT_MISSED = 200
_EPHEMERAL = {api.APP_STATE_EPHEMERAL, api.APP_STATE_DETACHED}


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A schedule and when it fires next."""

    app: str
    environment: str
    function: str
    schedule: str
    next_at: datetime


@dataclass(frozen=True, slots=True)
class Missed:
    """Firings that did not happen.

    Attributes:
        count: How many, up to 1000.
        last_at: When the last of them was due.
    """

    app: str
    environment: str
    function: str
    count: int
    last_at: datetime
    reason: str


@dataclass(slots=True)
class _Plan:
    """One function's schedule as it is published now."""

    function: FunctionEntry
    version: int
    table: Timetable
    next_at: datetime
    call: FunctionCall | None = None

    @property
    def label(self) -> str:
        return f"{self.function.app.label}::{self.function.name}"


class Schedules:
    """The schedules of the apps that run, and of the deployed ones that a plane has brought back.

    Args:
        say: Tells the user something.
    """

    def __init__(
        self, apps: Apps, calls: Calls, deployments: Deployments, say: Callable[[str], None]
    ) -> None:
        self.missed: deque[Missed] = deque(maxlen=_KEPT_MISSED)
        self._apps = apps
        self._calls = calls
        self._deployments = deployments
        self._records = deployments.records
        self._say = say
        self._plans: dict[str, _Plan] = {}
        self._changed = asyncio.Event()
        self._clock: asyncio.Task[None] | None = None
        self._watching: set[asyncio.Task[None]] = set()
        self._stays = False

    def start(self) -> None:
        """Fire the schedules of deployed apps too from now on; starting twice is fine."""
        if not self._stays:
            self._stays = True
            self._plans = {  # anew, so that what was due while they did not fire is reported
                key: plan for key, plan in self._plans.items() if _runs(plan.function.app)
            }
        self._begin()

    def stop(self) -> None:
        """Fire no more."""
        for task in (self._clock, *self._watching):
            if task is not None:
                task.cancel()

    def changed(self) -> None:
        """An app was published or stopped."""
        self._changed.set()
        if any(_runs(app) for app, _function in self._scheduled()):
            self._begin()

    def upcoming(self) -> list[Upcoming]:
        """Return every schedule, the one that fires next first."""
        self._plan()
        found = [
            Upcoming(
                app=plan.function.app.label,
                environment=plan.function.app.environment,
                function=plan.function.name,
                schedule=_described(plan.function.definition.schedule),
                next_at=plan.next_at,
            )
            for plan in self._plans.values()
        ]
        return sorted(found, key=lambda one: one.next_at)

    def fire_now(self, app: App, function: FunctionEntry) -> FunctionCall:
        """Call a function as its schedule would; nobody needs to wait for it."""
        call = self._calls.create(
            FunctionCall(function, invocation=api.FUNCTION_CALL_INVOCATION_TYPE_ASYNC)
        )
        nothing = api.FunctionInput(
            args=pickle.dumps(((), {}), protocol=4), data_format=api.DATA_FORMAT_PICKLE
        )
        self._calls.submit(call, nothing, 0)
        task = asyncio.get_running_loop().create_task(self._report(app, function, call))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return call

    async def tick(self, name: str, environment: str = "main") -> FunctionCall:
        """Fire the schedule called ``APP``, ``FUNCTION`` or ``APP::FUNCTION`` now.

        Raises:
            LocalModalError: There is none of that name, or more than one.
        """
        app_name, _, function_name = name.partition("::")
        if await self._deployments.find(app_name, environment) is None:
            await self._deployments.restore_waking()
        known = [
            (app, function) for app, function in self._scheduled() if app.environment == environment
        ]
        fitting = [
            (app, function)
            for app, function in known
            if (app.label == app_name and function_name in {"", function.name})
            or function.name == name
        ]
        # An app that runs for a while may have the name of a deployed one.
        fitting = [one for one in fitting if not _runs(one[0])] or fitting
        if len(fitting) != 1:
            names = ", ".join(f"{app.label}::{function.name}" for app, function in fitting or known)
            msg = (
                f"{'More than one' if fitting else 'No'} schedule is called {name!r} in the "
                f"environment {environment!r}. Write one of: {names or '(nothing is scheduled)'}."
            )
            raise LocalModalError(msg)
        return self.fire_now(*fitting[0])

    def _begin(self) -> None:
        if self._clock is None:
            self._clock = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            self._plan()
            now = datetime.now(UTC)
            firing = [
                plan for plan in self._plans.values() if self._stays or _runs(plan.function.app)
            ]
            for plan in firing:
                if plan.next_at <= now:
                    self._fire(plan, now)
            pause = min(
                ((plan.next_at - now).total_seconds() for plan in firing),
                default=_LONGEST_SLEEP_S,
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(pause, 0.0), _LONGEST_SLEEP_S)):
                    await self._changed.wait()

    def _scheduled(self) -> Iterator[tuple[App, FunctionEntry]]:
        for app in self._apps.all():
            if app.state != api.APP_STATE_DEPLOYED and not _runs(app):
                continue
            for function in app.functions.values():
                if function.definition.HasField("schedule"):
                    yield app, function

    def _plan(self) -> None:
        """Follow what is published now."""
        now = datetime.now(UTC)
        plans: dict[str, _Plan] = {}
        for app, function in self._scheduled():
            plan = self._plans.get(function.id)
            if plan is None or plan.version != app.version or plan.function is not function:
                plan = self._new_plan(app, function, now)
            if plan is not None:
                plans[function.id] = plan
        self._plans = plans

    def _new_plan(self, app: App, function: FunctionEntry, now: datetime) -> _Plan | None:
        deployed = datetime.fromtimestamp(app.deployed_at, UTC)
        table = timetable_of(function.definition.schedule, deployed)
        if table is None:
            return None
        handled = max(deployed, self._handled(function) or deployed)
        due = list(_until(table, handled, now))
        plan = _Plan(function, app.version, table, table.after(max(now, handled)))
        if due:
            self._miss(plan, len(due), due[-1], "no local Modal was running")
        return plan

    def _fire(self, plan: _Plan, now: datetime) -> None:
        due = list(_until(plan.table, plan.next_at, now))
        if due:
            self._miss(plan, len(due), due[0], "the machine was asleep or too busy")
        if plan.call is not None and plan.call.unfinished:
            self._miss(plan, 1, plan.next_at, "the firing before it is still running")
        else:
            plan.call = self.fire_now(plan.function.app, plan.function)
        plan.next_at = plan.table.after(now)
        self._handle(plan, now)

    def _miss(self, plan: _Plan, count: int, last_at: datetime, reason: str) -> None:
        app = plan.function.app
        self.missed.append(
            Missed(app.label, app.environment, plan.function.name, count, last_at, reason)
        )
        many = "once" if count == 1 else f"{count} times"
        text = (
            f"{plan.label} did not fire {many}, last at {last_at:%Y-%m-%d %H:%M:%S} UTC: {reason}. "
            f"Fire it with: modalkit local tick {plan.label}"
        )
        app.log.remark(text, function_id=plan.function.id)
        self._say(text)
        self._handle(plan, datetime.now(UTC))

    async def _report(self, app: App, function: FunctionEntry, call: FunctionCall) -> None:
        """Say so when a firing fails; nobody else waits for it."""
        result = (await call.single_output()).result
        fine = {
            api.GenericResult.GENERIC_STATUS_SUCCESS,
            api.GenericResult.GENERIC_STATUS_TERMINATED,
        }
        if result.status not in fine and not app.over:
            at = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
            text = f"the scheduled {app.label}::{function.name} failed at {at}: {result.exception}"
            app.log.remark(text, function_id=function.id)
            self._say(text)

    def _handled(self, function: FunctionEntry) -> datetime | None:
        record = self._records.by_name(SCHEDULE, function.app.id, function.id)
        if record is None:
            return None
        return datetime.fromtimestamp(json.loads(record.body), UTC)

    def _handle(self, plan: _Plan, until: datetime) -> None:
        """Remember of a deployed app that each firing up to then has happened or was reported."""
        function = plan.function
        if _runs(function.app):
            return
        body = json.dumps(until.timestamp()).encode()
        self._records.put(SCHEDULE, function.app.id, function.id, f"schedule {function.id}", body)


def _runs(app: App) -> bool:
    """Whether an app lives no longer than its client wants it to."""
    return app.state in _EPHEMERAL


def _until(table: Timetable, moment: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the firings later than ``moment`` and not later than ``end``, 1000 at most."""
    for _ in range(_COUNTED):
        moment = table.after(moment)
        if moment > end:
            return
        yield moment


def _described(schedule: api.Schedule) -> str:
    if schedule.HasField("cron"):
        return f"{schedule.cron.cron_string} ({schedule.cron.timezone or 'UTC'})"
    parts = (f"{value:g} {known.name}" for known, value in schedule.period.ListFields())
    return "every " + ", ".join(parts)
