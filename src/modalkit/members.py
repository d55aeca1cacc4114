"""The Modal members `serve` adds to a service class: enter, exit, remote methods, HTTP.

Each function below runs in the container, with the user's instance as ``self``. What the
container keeps hangs on the instance under one private name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import modal

from .conflicts import routes_of
from .endpoints import Endpoint
from .engines.base import Engine, Launch
from .plan import ServicePlan, engine_of
from .routes import Route
from .runtime import engine_methods
from .runtime.custom_host import CustomHost
from .runtime.verify import weights_of
from .service import ModelService

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .runtime.engine_host import EngineHost

__all__ = ["member_functions"]

_HTTP = "http"  # the web function's name, which Modal puts into its URL


def member_functions(service: type[ModelService], plan: ServicePlan) -> dict[str, object]:
    """Return the members of a planned service by name, decorated with Modal's decorators."""
    engine = engine_of(service)
    if engine is not None and plan.engine is not None:
        return _engine_members(engine, plan.engine.launch, plan)
    return _custom_members(service, plan)


# ── an engine serves the model ──────────────────────────────────────────────────────────────────


def _engine_members(engine: Engine, launch: Launch, plan: ServicePlan) -> dict[str, object]:
    # Before Modal's own limit ends the container, so that the engine's last lines are heard.
    timeout_s = 0.95 * plan.scaling.startup_timeout

    def start(self: Any) -> None:
        from .runtime.engine_host import EngineHost  # noqa: PLC0415 - needs what the image holds

        host = EngineHost(engine, launch, timeout_s, weights_of(plan))
        host.start()
        self._modalkit_engine = host

    def stop_process(self: Any) -> None:
        self._modalkit_engine.stop_process()

    async def stop(self: Any) -> None:
        await self._modalkit_engine.stop()

    members: dict[str, object] = {"_modalkit_start": modal.enter()(start)}
    if plan.is_server:
        members["_modalkit_stop"] = modal.exit()(stop_process)
        return members
    members["_modalkit_stop"] = modal.exit()(stop)
    for name in plan.methods:
        members[name] = modal.method()(getattr(engine_methods, name))
    if plan.endpoint is not None:
        members[_HTTP] = _web_member(plan.endpoint, _engine_app)
    return members


def _engine_app(self: Any) -> ASGIApp:
    from .runtime.gateway import Gateway  # noqa: PLC0415 - needs what the image holds

    host: EngineHost = self._modalkit_engine
    return Gateway(lambda: host.client)


# ── the class itself serves it ──────────────────────────────────────────────────────────────────


def _custom_members(service: type[ModelService], plan: ServicePlan) -> dict[str, object]:
    routes = routes_of(service)
    members = _custom_lifecycle(plan, routes)
    if plan.is_server:
        return members
    for name, route in routes.items():
        members[name] = modal.method()(_route_method(name, route))
    if routes and plan.endpoint is not None:
        endpoint = plan.endpoint
        members[_HTTP] = _web_member(endpoint, lambda self: self._modalkit_custom.app(endpoint))
    return members


def _custom_lifecycle(
    plan: ServicePlan, routes: Mapping[str, Route[..., object]]
) -> dict[str, object]:
    def verify() -> None:
        if weights := weights_of(plan):
            weights.verify()

    async def start(self: Any) -> None:
        verify()
        self._modalkit_custom = CustomHost(self, routes)
        await self._modalkit_custom.start()

    async def stop(self: Any) -> None:
        await self._modalkit_custom.stop()

    def start_server(self: Any) -> None:
        from .runtime.custom_server import CustomServer  # noqa: PLC0415 - needs what the image holds

        verify()
        self._modalkit_server = CustomServer(CustomHost(self, routes), plan.endpoint)  # type: ignore[arg-type]  # a server plan has an endpoint
        self._modalkit_server.start()

    def stop_server(self: Any) -> None:
        self._modalkit_server.stop()

    enter, leave = (start_server, stop_server) if plan.is_server else (start, stop)
    return {"_modalkit_start": modal.enter()(enter), "_modalkit_stop": modal.exit()(leave)}


def _route_method(name: str, route: Route[..., object]) -> Callable[..., Awaitable[object]]:
    async def call(self: Any, *arguments: object, **keywords: object) -> object:
        return await self._modalkit_custom.calls[name](*arguments, **keywords)

    functools.update_wrapper(call, route.function)
    del call.__wrapped__  # type: ignore[attr-defined]  # Modal would look at the batch function's signature
    call.__signature__ = _caller_signature(route)  # type: ignore[attr-defined]
    return call


def _caller_signature(route: Route[..., object]) -> inspect.Signature:
    """What a caller passes: the method's own parameters, or one request of a batch."""
    signature = inspect.signature(route.function)
    if route.batch is None:
        return signature
    itself, requests = list(signature.parameters.values())[:2]
    one = requests.replace(annotation=inspect.Parameter.empty)
    return signature.replace(parameters=[itself, one], return_annotation=inspect.Signature.empty)


# ── HTTP ────────────────────────────────────────────────────────────────────────────────────────


def _web_member(endpoint: Endpoint, make_app: Callable[[Any], ASGIApp]) -> object:
    def http(self: Any) -> ASGIApp:
        from .runtime.access import guarded  # noqa: PLC0415 - needs what the image holds

        return guarded(make_app(self), endpoint)

    return modal.asgi_app(**endpoint.to_modal())(http)
