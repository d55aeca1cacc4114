"""The blueprint of a file: run it, find its apps, describe what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import modal

from ..client_state import app_entrypoints, app_functions
from ..compile import Served, apps_served_on, served_on
from ..discovery import run_file, taking_stale_locks
from ..errors import DeclarationError, SizingError
from ..fitting import demand_of, engine_name
from ..lookup import model_folder, stale_lock
from ..pricing.rates import Rates
from ..service import lock_command
from ..sizing.model import ModelFacts, read_model
from .functions import describe_function, function_infos, mounted, seen_secrets
from .known import Assumptions, Known
from .services import describe_service
from .values import AppBlueprint, Blueprint, SecretUse, ServiceBlueprint, VolumeUse

__all__ = ["read_file"]


def read_file(
    file: str | Path,
    only: str = "",
    *,
    rates: Rates | None = None,
    assumed: Assumptions | None = None,
    warnings: tuple[str, ...] = (),
    stale_locks: bool = False,
) -> tuple[Blueprint, tuple[Known, ...]]:
    """Run a file as the modal command does, and describe everything it will create.

    The services it describes come beside the blueprint, with what is known of their models.

    Args:
        file: A Python file with Modal apps.
        only: One class, function or app of it; everything when empty.
        rates: Prices; the list prices unless given.
        assumed: Traffic and speeds for the price of a month.
        warnings: What the blueprint should say besides.
        stale_locks: Whether a service may differ from its lock; a warning then says so.

    Raises:
        DeclarationError: No such file, no app in it, nothing of that name.
        PlanError: Services of it that cannot be.
    """
    rates, assumed = rates or Rates.offline(), assumed or Assumptions()
    apps, variables = _found(file, stale_locks)
    known = {app: [_known(served) for served in _deployed_with(app)] for app in apps}
    drawn = tuple(_app(app, found, rates, assumed) for app, found in known.items())
    drawn = _narrowed(drawn, only, variables, str(file)) if only else drawn
    shown = _shown(drawn, known)
    stale = [line for one in shown for line in stale_lock(one.service)] if stale_locks else []
    blueprint = Blueprint(
        modalkit=version("modalkit"),
        file=Path(file).name,
        apps=drawn,
        prices=f"{rates.source}, {rates.read_on}",
        warnings=(*warnings, *stale),
    )
    return blueprint, shown


def _found(file: str | Path, stale_locks: bool) -> tuple[list[modal.App], dict[str, str]]:
    """The apps that a file deploys, in the order they are written, and by each variable an app's name in a plan."""
    with taking_stale_locks(stale_locks):
        named = vars(run_file(file))
    variables = {name: value for name, value in named.items() if isinstance(value, modal.App)}
    if not variables:
        msg = f"{str(file)!r} has no Modal app. Write app = modal.App('NAME') at its top level."
        raise DeclarationError(msg)
    apps = list(dict.fromkeys(variables.values()))
    return _deployed(apps), {name: _name(app) for name, app in variables.items()}


def _deployed(apps: list[modal.App]) -> list[modal.App]:
    """The apps without those that another one includes: what they hold is deployed with that one."""
    held = {app: set(app_functions(app).values()) for app in apps}
    # By name: the client wraps an app anew each time it is asked for one.
    own = {app: {one for one in held[app] if one.app.name == app.name} for app in apps}
    parts = [
        app
        for app in apps
        if own[app] and any(own[app] <= held[other] for other in apps if other is not app)
    ]
    return [app for app in apps if app not in parts]


def _deployed_with(app: modal.App) -> Iterator[Served]:
    """The services that an app deploys: its own, then those of the apps it includes."""
    yield from served_on(app)
    functions = app_functions(app)
    for other in apps_served_on():
        if other is not app:
            theirs = app_functions(other)  # it may have lost some since they were registered
            yield from (
                one
                for one in served_on(other)
                if one.tag in theirs and functions.get(one.tag) is theirs[one.tag]
            )


def _shown(
    drawn: tuple[AppBlueprint, ...], known: Mapping[modal.App, list[Known]]
) -> tuple[Known, ...]:
    names = {service.name for app in drawn for service in app.services}
    return tuple(one for found in known.values() for one in found if one.plan.name in names)


def _name(app: modal.App) -> str:
    return app.name or "(unnamed)"


def _known(served: Served) -> Known:
    service, plan = served
    facts, reason = _facts(served)
    if facts is None or engine_name(service.engine) is None:
        return Known(service, plan, facts, None, reason)
    try:
        demand = demand_of(service, facts, plan.locked.beside if plan.locked else ())
    except SizingError as error:
        return Known(service, plan, facts, None, str(error))
    return Known(service, plan, facts, demand, reason)


def _facts(served: Served) -> tuple[ModelFacts | None, str]:
    """What is stated comes first, then what is locked, then the model's folder."""
    locked = served.plan.locked.model if served.plan.locked else None
    if served.service.facts is not None:
        return served.service.facts, ""
    if locked is not None:
        return locked.facts, locked.unsized
    folder = model_folder(served.service)
    if folder is not None:
        try:
            return read_model(folder), ""
        except SizingError as error:
            return None, str(error)
    if served.plan.model is None:
        return None, "the service names no model"
    return (
        None,
        f"nothing is known of {served.plan.model!r} offline; run: {lock_command(served.service)}",
    )


def _app(app: modal.App, known: list[Known], rates: Rates, assumed: Assumptions) -> AppBlueprint:
    infos = function_infos(app)
    services = []
    for one in known:
        info = infos.pop(Served(one.service, one.plan).tag, None)
        service = describe_service(one, rates, assumed)
        if info is not None:
            service = _with_the_apps_own(
                service, mounted(info), seen_secrets(info), tuple(info.method_names or ())
            )
        services.append(service)
    return AppBlueprint(
        name=_name(app),
        services=tuple(services),
        functions=tuple(describe_function(tag, info, rates) for tag, info in infos.items()),
        entrypoints=app_entrypoints(app),
    )


def _with_the_apps_own(
    service: ServiceBlueprint,
    volumes: tuple[VolumeUse, ...],
    secrets: tuple[SecretUse, ...],
    methods: tuple[str, ...],
) -> ServiceBlueprint:
    """A service with what it has besides its plan: the app's Volumes and Secrets, its own methods."""
    mounts = {one.mount for one in service.volumes}
    named = {one.name for one in service.secrets}
    plain = set(service.variables)  # Modal carries `env=` as a Secret made of those names
    return service.model_copy(
        update={
            "volumes": (*service.volumes, *(one for one in volumes if one.mount not in mounts)),
            "secrets": (
                *service.secrets,
                *(one for one in secrets if one.name not in named and set(one.keys) != plain),
            ),
            "methods": tuple(dict.fromkeys((*service.methods, *methods))),
        }
    )


def _narrowed(
    apps: tuple[AppBlueprint, ...], only: str, variables: Mapping[str, str], file: str
) -> tuple[AppBlueprint, ...]:
    """One class or function of a file, or else the app of that name or variable."""
    kept = tuple(_narrow(app, only) for app in apps)
    if found := tuple(app for app in kept if app.services or app.functions):
        return found
    if found := tuple(app for app in apps if app.name in {only, variables.get(only)}):
        return found
    names = ", ".join(_names(apps)) or "nothing"
    msg = f"{file!r} has no {only!r}; it has {names}."
    raise DeclarationError(msg)


def _narrow(app: AppBlueprint, only: str) -> AppBlueprint:
    return app.model_copy(
        update={
            "services": tuple(one for one in app.services if one.name == only),
            "functions": tuple(one for one in app.functions if one.name == only),
        }
    )


def _names(apps: tuple[AppBlueprint, ...]) -> Iterator[str]:
    for app in apps:
        yield from (service.name for service in app.services)
        yield from (function.name for function in app.functions)
