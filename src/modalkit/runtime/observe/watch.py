"""Everything one process tells of the service it runs, put together from what is declared."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Scope

from ...declare.endpoints import Endpoint
from ...declare.webhook import Webhook
from .calls import CallMetrics, MethodWatch
from .failures import FailureReporter, Storm
from .gpu_memory import show_gpu_memory
from .health import HEALTHY, EngineHealth, HealthPage, SelfTest, Verdict
from .http_metrics import HTTPMetrics, RouteNames
from .metrics_page import MetricsPage
from .registry import Registry
from .tracing import HTTPTraces, Tracing

if TYPE_CHECKING:
    from ..door.visit import Visit, VisitObserver

__all__ = ["Watch"]

EngineRequests = Sequence[tuple[str, Mapping[str, object]]]
_DRAIN_S = 10.0


class Watch:
    """What one process watches of one service; what is not declared costs nothing.

    Args:
        service: The class, for names.
        endpoint: Its HTTP side: metrics are counted where it shows them to anyone. Default: none.
        on_failure: Who is told of failures. Default: nobody.
        engine_requests: What an engine is asked to see whether it answers, each a route and a body;
            ``None`` where the class serves the model itself.
    """

    def __init__(
        self,
        service: str,
        endpoint: Endpoint | None = None,
        on_failure: Webhook | None = None,
        engine_requests: EngineRequests | None = None,
    ) -> None:
        self._service = service
        self._engine_requests = engine_requests
        self._self_test: SelfTest | None = None
        self.tracing = Tracing.of_this_process(service)
        self._registry = (
            _registry(service) if endpoint is not None and endpoint.metrics != "closed" else None
        )
        self._calls = CallMetrics(self._registry or Registry(""))
        self._methods: dict[str, MethodWatch] = {}
        self._reporter = FailureReporter(on_failure, service) if on_failure else None
        self._storm = (
            Storm(self._reporter, on_failure.failures, on_failure.within_s)
            if self._reporter and on_failure
            else None
        )

    def method(self, name: str) -> MethodWatch | None:
        """What watches a method; ``None`` where nothing does."""
        for_whom = (self._registry, self.tracing, self._storm, self._self_test)
        if all(one is None for one in for_whom):
            return None
        if name not in self._methods:
            self._methods[name] = MethodWatch(
                self._service, name, self._calls, self.tracing, self._call_failed
            )
        return self._methods[name]

    def calling(self, name: str) -> AbstractContextManager[None]:
        """Watch a block that is one call of a method."""
        method = self.method(name)
        return method.calling() if method else nullcontext()

    def tested_by(self, name: str, test: Callable[[], Awaitable[object]]) -> None:
        """Let ``/health`` be what a test of the model says.

        Args:
            name: What is tested, for the reason.
            test: Runs the model once; it raises where the model does not answer as it should.
        """
        self._self_test = SelfTest(name, test, self._unhealthy)

    async def health(self) -> Verdict:
        """Whether the model passes its test; it does where it has none."""
        return await self._self_test.verdict() if self._self_test else HEALTHY

    def in_front_of(
        self, app: ASGIApp, routes: AbstractSet[str] | None
    ) -> tuple[dict[str, ASGIApp], tuple[VisitObserver, ...]]:
        """What the door in front of an app needs: pages in its place, and who is told of requests.

        Args:
            app: The app.
            routes: Paths of an engine that are for clients; ``None`` for a custom service's app.
        """
        names = RouteNames(routes)
        observers: list[VisitObserver] = []
        pages: dict[str, ASGIApp] = {}
        if self.tracing is not None:
            observers.append(HTTPTraces(self.tracing, names))
        if self._registry is not None:
            observers.append(HTTPMetrics(self._registry, names))
            pages["/metrics"] = MetricsPage(self._registry, None if routes is None else app)
        if self._engine_requests is None:
            pages["/health"] = HealthPage(self._of_custom_service)
        else:
            health = EngineHealth(app, self._engine_requests)
            observers.append(health)
            pages["/health"] = HealthPage(health.judge)
            if self._storm is not None:
                observers.append(_EngineFailures(self._storm))
        return pages, tuple(observers)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Tell of a container that does not start; it ends then, so wait until that is sent."""
        try:
            yield
        except BaseException as error:
            if self._reporter is not None:
                self._reporter.tell("start", error=type(error).__name__)
                self._reporter.drain(_DRAIN_S)
            raise

    def engine_died(self, returncode: int) -> None:
        """Tell of an engine that died while it served."""
        if self._reporter is not None:
            self._reporter.tell("engine_death", returncode=returncode)

    def close(self) -> None:
        """Send what is left to send."""
        if self.tracing is not None:
            self.tracing.flush()
        if self._reporter is not None:
            self._reporter.drain(_DRAIN_S)

    def _call_failed(self, error: BaseException) -> None:
        if self._self_test is not None:
            self._self_test.doubt()
        if self._storm is not None:
            self._storm.failed(type(error).__name__)

    def _unhealthy(self) -> None:
        if self._reporter is not None:
            self._reporter.tell("health")

    async def _of_custom_service(self, _: Scope) -> Verdict:
        return await self.health()


class _EngineFailures:
    """Counts what an engine, or the way to it, answers with a server error."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm

    def arrived(self, visit: Visit) -> None:
        """Nothing has failed yet."""

    def left(self, visit: Visit) -> None:
        """Count an answer that is a failure."""
        if visit.failed:
            self._storm.failed(str(visit.status))


def _registry(service: str) -> Registry:
    """Figures of this container: each has its own series, since a scrape reaches any of them."""
    registry = Registry(
        "modalkit_", {"service": service, "container": os.environ.get("MODAL_TASK_ID", "")}
    )
    show_gpu_memory(registry)
    return registry
