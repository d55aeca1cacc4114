"""The Modal members `serve` adds to a service class: enter, exit, remote methods, HTTP.

Each function below runs in the container, with the user's instance as ``self``. What the
container keeps hangs on the instance under one private name.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import modal

from .declare.endpoints import Endpoint
from .declare.routes import Route
from .engines.base import Engine, Launch
from .engines.gpu_engine import GPUEngine
from .plan import ServicePlan, engine_of
from .runtime import engine_methods
from .runtime.observe.engine_calls import watched
from .runtime.observe.remote import take_trace
from .runtime.prefetched import Prefetched, find_prefetched
from .runtime.verify import weights_of
from .service import ModelService, lock_command, prefetch_command, routes_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .runtime.custom_host import CustomHost
    from .runtime.custom_server import CustomServer
    from .runtime.engine_host import EngineHost
    from .runtime.observe.watch import Watch

__all__ = ["member_functions"]

_Enter = Callable[[Any], Awaitable[None] | None]
_HTTP = "http"  # the web function's name, which Modal puts into its URL


def member_functions(service: type[ModelService], plan: ServicePlan) -> dict[str, object]:
    """Return the members of a planned service by name, decorated with Modal's decorators."""
    engine = engine_of(service)
    if engine is not None and plan.engine is not None:
        return _engine_members(service, engine, plan.engine.launch, plan)
    return _custom_members(service, plan)


# ── an engine serves the model ──────────────────────────────────────────────────────────────────


def _engine_members(
    service: type[ModelService], engine: Engine, launch: Launch, plan: ServicePlan
) -> dict[str, object]:
    def host_of(self: Any) -> EngineHost:
        self._modalkit_engine = _engine_host(service, engine, launch, plan)
        host: EngineHost = self._modalkit_engine
        return host

    def start(self: Any) -> None:
        host_of(self).start()

    def before(self: Any) -> None:
        host_of(self).before_snapshot()

    def after(self: Any) -> None:
        self._modalkit_engine.after_snapshot()

    def stop_process(self: Any) -> None:
        self._modalkit_engine.stop_process()

    async def stop(self: Any) -> None:
        await self._modalkit_engine.stop()

    members = _enters(plan, start, before, after)
    if plan.is_server:
        members["_modalkit_stop"] = modal.exit()(stop_process)
        return members
    members["_modalkit_stop"] = modal.exit()(stop)
    for name in plan.methods:
        members[name] = modal.method()(watched(getattr(engine_methods, name)))
    if plan.endpoint is not None:
        members[_HTTP] = _web_member(
            plan.endpoint,
            _engine_app,
            lambda self: self._modalkit_engine.watch,
            engine.client_routes,
        )
    return members


def _engine_host(
    service: type[ModelService], engine: Engine, launch: Launch, plan: ServicePlan
) -> EngineHost:
    from .runtime.engine_host import EngineHost  # noqa: PLC0415 - needs what the image holds

    found = find_prefetched(service, plan, prefetch_command(service))
    return EngineHost(
        engine,
        _on_folder(engine, launch, found),
        # Before Modal's own limit ends the container, so that the engine's last lines are heard.
        0.95 * plan.scaling.startup_timeout,
        weights_of(plan, found, lock_command(service)),
        plan.endpoint,
        cold_start=plan.cold_start,
        service=plan.name,
        leave=_end_server if plan.is_server else _end_container,
        on_failure=plan.on_failure,
    )


def _end_container() -> None:
    """Take no more inputs; Modal starts another container for them."""
    import modal.experimental  # noqa: PLC0415 - only in a container whose engine has died

    modal.experimental.stop_fetching_inputs()


def _end_server() -> None:
    """A server's container takes no inputs, and leaves at this signal."""
    os.kill(os.getpid(), signal.SIGTERM)


def _enters(plan: ServicePlan, start: _Enter, before: _Enter, after: _Enter) -> dict[str, object]:
    """A container's start: one member, or one on each side of the memory snapshot."""
    if plan.cold_start.snapshot is None:
        return {"_modalkit_start": modal.enter()(start)}
    return {
        "_modalkit_before_snapshot": modal.enter(snap=True)(before),
        "_modalkit_after_snapshot": modal.enter(snap=False)(after),
    }


def _on_folder(engine: Engine, launch: Launch, found: Prefetched | None) -> Launch:
    """The launch with prefetched folders as model and adapters: no engine can then ask the hub for them."""
    from .runtime.adapters import with_adapter_folder  # noqa: PLC0415 - of a container's start

    declared = engine.lora if isinstance(engine, GPUEngine) else ()
    if found is not None:
        beside = {
            one.name: str(found.beside[one.source])
            for one in declared
            if one.source in found.beside
        }
        adapters = {**launch.adapters, **beside}
        own = {"model": str(found.folder), "revision": None, "adapters": adapters}
        launch = launch.model_copy(update=own)
    return with_adapter_folder(declared, launch)


def _engine_app(self: Any) -> ASGIApp:
    from .runtime.gateway import Gateway  # noqa: PLC0415 - needs what the image holds

    host: EngineHost = self._modalkit_engine
    return Gateway(lambda: host.client, host.watch.tracing)


# ── the class itself serves it ──────────────────────────────────────────────────────────────────


def _custom_members(service: type[ModelService], plan: ServicePlan) -> dict[str, object]:
    routes = routes_of(service)
    if plan.is_server:
        return _custom_server_lifecycle(service, plan, routes)
    members = _custom_lifecycle(service, plan, routes)
    for name, route in routes.items():
        members[name] = modal.method()(_route_method(name, route))
    if routes and plan.endpoint is not None:
        endpoint = plan.endpoint
        members[_HTTP] = _web_member(
            endpoint,
            lambda self: self._modalkit_custom.app(endpoint),
            lambda self: self._modalkit_custom.watch,
        )
    return members


def _custom_lifecycle(
    service: type[ModelService], plan: ServicePlan, routes: Mapping[str, Route[..., object]]
) -> dict[str, object]:
    def host_of(self: Any) -> CustomHost:
        return _custom_host(self, service, plan, routes)

    async def start(self: Any) -> None:
        self._modalkit_custom = host_of(self)
        await self._modalkit_custom.start()

    async def before(self: Any) -> None:
        self._modalkit_custom = host_of(self)
        await self._modalkit_custom.before_snapshot()

    async def after(self: Any) -> None:
        await self._modalkit_custom.after_snapshot()

    async def stop(self: Any) -> None:
        await self._modalkit_custom.stop()

    return {**_enters(plan, start, before, after), "_modalkit_stop": modal.exit()(stop)}


def _custom_server_lifecycle(
    service: type[ModelService], plan: ServicePlan, routes: Mapping[str, Route[..., object]]
) -> dict[str, object]:
    endpoint = plan.endpoint
    assert endpoint is not None  # noqa: S101 - a server plan has one

    def server_of(self: Any) -> CustomServer:
        from .runtime.custom_server import CustomServer  # noqa: PLC0415 - needs what the image holds

        host = _custom_host(self, service, plan, routes)
        self._modalkit_server = CustomServer(host, endpoint)
        server: CustomServer = self._modalkit_server
        return server

    def start(self: Any) -> None:
        server_of(self).start()

    def before(self: Any) -> None:
        server_of(self).before_snapshot()

    def after(self: Any) -> None:
        self._modalkit_server.after_snapshot()

    def stop(self: Any) -> None:
        self._modalkit_server.stop()

    return {**_enters(plan, start, before, after), "_modalkit_stop": modal.exit()(stop)}


def _custom_host(
    instance: Any,
    service: type[ModelService],
    plan: ServicePlan,
    routes: Mapping[str, Route[..., object]],
) -> CustomHost:
    from .runtime.custom_host import CustomHost  # noqa: PLC0415 - needs what the image holds
    from .runtime.observe.watch import Watch  # noqa: PLC0415

    found = find_prefetched(service, plan, prefetch_command(service))
    instance._modalkit_model = found.folder if found else None  # noqa: SLF001 - what `model_path` returns
    watch = Watch(plan.name, plan.endpoint, plan.on_failure)
    weights = weights_of(plan, found, lock_command(service))
    return CustomHost(instance, routes, weights, plan.cold_start, watch)


def _route_method(name: str, route: Route[..., object]) -> Callable[..., object]:
    async def call(self: Any, *arguments: object, **keywords: object) -> object:
        host: CustomHost = self._modalkit_custom
        with take_trace(keywords, host.watch.tracing):
            return await host.calls[name](*arguments, **keywords)

    async def stream(self: Any, *arguments: object, **keywords: object) -> AsyncIterator[object]:
        host: CustomHost = self._modalkit_custom
        with take_trace(keywords, host.watch.tracing):
            async for piece in host.calls[name](*arguments, **keywords):
                yield piece

    method: Callable[..., object] = stream if route.streams else call
    functools.update_wrapper(method, route.function)
    del method.__wrapped__  # type: ignore[attr-defined]  # Modal would look at the batch function's signature
    method.__signature__ = _caller_signature(route)  # type: ignore[attr-defined]
    return method


def _caller_signature(route: Route[..., object]) -> inspect.Signature:
    """What a caller passes: the method's own parameters, or one request of a batch."""
    signature = inspect.signature(route.function)
    if route.batch is None:
        return signature
    itself, requests = list(signature.parameters.values())[:2]
    one = requests.replace(annotation=inspect.Parameter.empty)
    return signature.replace(parameters=[itself, one], return_annotation=inspect.Signature.empty)


# ── HTTP ────────────────────────────────────────────────────────────────────────────────────────


def _web_member(
    endpoint: Endpoint,
    make_app: Callable[[Any], ASGIApp],
    watch_of: Callable[[Any], Watch],
    routes: frozenset[str] | None = None,
) -> object:
    def http(self: Any) -> ASGIApp:
        from .runtime.door import guarded  # noqa: PLC0415 - needs what the image holds

        return guarded(make_app(self), endpoint, routes, watch=watch_of(self))

    return modal.asgi_app(**endpoint.to_modal())(http)
