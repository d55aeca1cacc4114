"""The blueprint of a file: run it, find its apps, describe what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import modal

from ..client_state import app_entrypoints
from ..compile import Served, served_on
from ..discovery import run_file
from ..errors import DeclarationError, SizingError
from ..fitting import demand_of, engine_name
from ..lookup import model_folder
from ..pricing.rates import Rates
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
) -> tuple[Blueprint, tuple[Known, ...]]:
    """Run a file as the modal command does, and describe everything it will create.

    Args:
        file: A Python file with Modal apps.
        only: One class or function of it; everything when empty.
        rates: Prices; the list prices unless given.
        assumed: Traffic and speeds for the price of a month.
        warnings: What the blueprint should say besides.

    Returns:
        The blueprint, and the services it describes with what is known of their models.

    Raises:
        DeclarationError: No such file, no app in it, nothing of that name.
        PlanError: Services of it that cannot be.
    """
    rates = rates or Rates.offline()
    apps = _apps(run_file(file))
    if not apps:
        msg = f"{str(file)!r} has no Modal app. Write app = modal.App('NAME') at its top level."
        raise DeclarationError(msg)
    known = {app: [_known(served) for served in served_on(app)] for app in apps}
    drawn = tuple(_app(app, known[app], rates, assumed or Assumptions()) for app in apps)
    if only:
        drawn = _narrowed(drawn, only, str(file))
    names = {service.name for app in drawn for service in app.services}
    blueprint = Blueprint(
        modalkit=version("modalkit"),
        file=Path(file).name,
        apps=drawn,
        prices=f"{rates.source}, {rates.read_on}",
        warnings=warnings,
    )
    return blueprint, tuple(one for app in apps for one in known[app] if one.plan.name in names)


def _apps(module: ModuleType) -> list[modal.App]:
    """The apps a module names, once each, in the order they are written."""
    found = [value for value in vars(module).values() if isinstance(value, modal.App)]
    return list(dict.fromkeys(found))


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
    return None, f"nothing is known of {served.plan.model!r} offline; run: modalkit lock FILE"


def _app(app: modal.App, known: list[Known], rates: Rates, assumed: Assumptions) -> AppBlueprint:
    infos = function_infos(app)
    services = []
    for one in known:
        tag = one.plan.name if one.plan.is_server else f"{one.plan.name}.*"
        info = infos.pop(tag, None)
        service = describe_service(one, rates, assumed)
        if info is not None:
            service = _with_the_apps_own(
                service, mounted(info), seen_secrets(info), tuple(info.method_names or ())
            )
        services.append(service)
    return AppBlueprint(
        name=app.name or "(unnamed)",
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


def _narrowed(apps: tuple[AppBlueprint, ...], only: str, file: str) -> tuple[AppBlueprint, ...]:
    kept = tuple(_narrow(app, only) for app in apps)
    if not any(app.services or app.functions for app in kept):
        names = ", ".join(_names(apps)) or "nothing"
        msg = f"{file!r} has no {only!r}; it has {names}."
        raise DeclarationError(msg)
    return tuple(app for app in kept if app.services or app.functions)


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
