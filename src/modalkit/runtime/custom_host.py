"""A custom service in its container: load, warm up, answer methods and HTTP, unload."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from ..declare.cold_start import ColdStart
from ..declare.endpoints import Endpoint
from ..declare.routes import Route
from ..service import ModelService
from .model_calls import Call, bind
from .model_thread import ModelThread
from .observe.watch import Watch
from .phases import Phases
from .typed_routes import typed_route

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .verify import LockedWeights

__all__ = ["CustomHost"]

_NO_TEST = ModelService.self_test


class CustomHost:
    """What one container keeps for its instance of a custom service.

    Args:
        service: The user's instance.
        routes: Its typed routes by method name.
        weights: What must be as it is locked before it is loaded. Default: nothing is locked.
        cold_start: Which snapshot there will be. Default: none.
        watch: What is told of it. Default: nothing.
    """

    def __init__(
        self,
        service: ModelService,
        routes: Mapping[str, Route[..., object]],
        weights: LockedWeights | None = None,
        cold_start: ColdStart | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.watch = watch or Watch(type(service).__name__)
        self._phases = Phases()
        self._weights = weights
        self._cold_start = cold_start or ColdStart()
        self._service = service
        self._routes = routes
        self._thread = ModelThread()
        if getattr(type(service), "self_test", _NO_TEST) is not _NO_TEST:
            test = functools.partial(self._finish, service.self_test)
            self.watch.tested_by("self_test", test)
        self.calls: dict[str, Call] = {
            name: bind(service, name, route, self._thread, self.watch.method(name))
            for name, route in routes.items()
        }

    async def start(self) -> None:
        """Verify, load, wake and warm up the model; an error of any ends the container's start."""
        await self.before_snapshot()
        await self.after_snapshot()

    async def before_snapshot(self) -> None:
        """Do what a memory snapshot may hold; with the GPU's memory that is the warm-up too."""
        with self.watch.starting():
            with self._phases.measure("weights"):
                if self._weights is not None:
                    self._weights.verify()
            with self._phases.measure("load"):
                await self._finish(self._service.load)
            if self._cold_start.snapshot == "gpu":
                await self._warm_up()
        self._phases.pause()

    async def after_snapshot(self) -> None:
        """Go on after the snapshot, in this container or in one that came out of it."""
        self._phases.resume()
        with self.watch.starting():
            with self._phases.measure("wake"):
                await self._finish(self._service.wake)
            if self._cold_start.snapshot != "gpu":
                await self._warm_up()
        await self.watch.health()  # so that the log of a start says whether the model is right
        self._phases.log(type(self._service).__name__, self._cold_start)

    async def stop(self) -> None:
        """Release the model, after the plain methods that are under way."""
        try:
            await self._finish(self._service.unload)
        finally:
            self._thread.close()
            self.watch.close()

    def app(self, endpoint: Endpoint) -> ASGIApp:
        """The HTTP app of its typed routes, without access rules."""
        from .custom_app import custom_app  # noqa: PLC0415 - a service without HTTP needs no Starlette

        service = type(self._service)
        return custom_app(
            service.__name__,
            inspect.cleandoc(service.__doc__ or ""),
            [typed_route(name, route) for name, route in self._routes.items()],
            self.calls,
            endpoint.path.rstrip("/"),
            docs=endpoint.docs,
            asks_key=endpoint.keys is not None,
        )

    async def _warm_up(self) -> None:
        with self._phases.measure("warm_up"):
            await self._finish(self._service.warm_up)

    async def _finish(self, method: Callable[[], Awaitable[None] | None]) -> None:
        """Call a method of the service's life; a plain one in the thread its others run in."""
        is_async = inspect.iscoroutinefunction(method)
        ending = method() if is_async else await self._thread(method)
        if ending is not None:
            await ending
