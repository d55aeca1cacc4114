"""From a plan to ordinary Modal objects: the only client-side module that calls Modal.

``@serve(app)`` does what a user would have written by hand: it adds enter, method, exit and web
members to a subclass of theirs, with the same module and name, and decorates that with
``modal.concurrent`` and ``app.cls``, or with ``app.server``.
"""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import modal
from typing_extensions import dataclass_transform

from .declare.gpu import GPUFit
from .declare.image import ImageSpec
from .declare.secrets import secrets_to_modal
from .discovery import is_collecting, note_service, takes_stale_locks
from .engines.templates import template_beside, template_in_container
from .errors import DeclarationError, PlanError
from .lock import LockedImage, LockedService
from .lookup import CONTAINER_LOCK, lock_path, locked_service, still_locked
from .members import member_functions
from .plan import ServicePlan, plan_service
from .runtime.typed_routes import typed_route
from .service import ModelService, routes_of, service_file

__all__ = ["Served", "apps_served_on", "cls_keywords", "serve", "served_on", "server_keywords"]

S = TypeVar("S", bound=ModelService)


class Served(NamedTuple):
    """A service as `serve` registered it."""

    service: type[ModelService]
    plan: ServicePlan

    @property
    def tag(self) -> str:
        """What its function is called on the app."""
        return self.plan.name if self.plan.is_server else f"{self.plan.name}.*"


# What `served_on` tells of an app; apps that end take their entry with them.
_SERVED: WeakKeyDictionary[modal.App, list[Served]] = WeakKeyDictionary()


def served_on(app: modal.App) -> tuple[Served, ...]:
    """Return the services of an app, in the order they were registered."""
    return tuple(_SERVED.get(app, ()))


def apps_served_on() -> tuple[modal.App, ...]:
    """Return the apps that services are registered on, whichever file they are in."""
    return tuple(_SERVED)


@dataclass_transform(field_specifiers=(modal.parameter,), kw_only_default=True)
def serve(app: modal.App) -> Callable[[type[S]], type[S]]:
    """Register a `ModelService` on a Modal app.

    Args:
        app: The user's own app; everything else on it stays as it is.

    Returns:
        A class decorator. What it returns is Modal's own class, so ``Chat().generate.remote``,
        ``.map``, ``.spawn``, ``with_options`` and ``modal run`` work as they do anywhere; with
        ``Endpoint(kind="server")`` it is Modal's server, which has HTTP only.

    Raises:
        PlanError: Declarations that do not go together, all at once; a ``GPUProfile.fit`` or a
            model that ``modalkit.lock`` does not hold.
        LockError: A lock beside the file that was cut off or edited.
        DeclarationError: A model folder beside the file that is not there, or something that is
            not a Modal app.
    """
    _check_is_app(app)

    def decorate(service: type[S]) -> type[S]:
        _check_is_service(service)
        note_service(service)
        plan = plan_service(service, _locked(service))
        if plan.endpoint is not None:
            _check_routes(service)
        _SERVED.setdefault(app, []).append(Served(service, plan))
        if plan.prefetched and not is_collecting():
            _add_prefetch(app)
        subclass = _subclass(service, member_functions(service, plan))
        if plan.is_server:
            return app.server(**server_keywords(service, plan))(subclass)  # type: ignore[return-value]  # Modal's handle takes the class's name
        concurrent = modal.concurrent(**plan.scaling.to_modal_concurrent(plan.concurrency))
        return app.cls(**cls_keywords(service, plan))(concurrent(subclass))

    return decorate


def _add_prefetch(app: modal.App) -> None:
    # What fetches and hashes is a fifth of all that a plan imports: only for services that need it.
    from .prefetch.functions import add_prefetch  # noqa: PLC0415

    add_prefetch(app, served_on(app))


def _check_is_app(app: object) -> None:
    if not isinstance(app, modal.App):
        msg = f"serve({app!r}) takes the Modal app. Write @serve(app) above the class."
        raise DeclarationError(msg)


def _check_is_service(service: object) -> None:
    if not (isinstance(service, type) and issubclass(service, ModelService)):
        msg = f"@serve(app) takes a subclass of ModelService, got {service!r}."
        raise DeclarationError(msg)


def _locked(service: type[ModelService]) -> LockedService | None:
    if not is_collecting():
        locked = still_locked(service) if takes_stale_locks() else locked_service(service)
        # A local Modal makes images of what this machine has; versions for Modal's are not asked of it.
        here = "MODALKIT_LOCAL_STATE" in os.environ
        return locked.model_copy(update={"image": LockedImage()}) if locked and here else locked
    # Looking for services must not need the lock that is to be written from them.
    return LockedService(gpu=("T4",)) if isinstance(service.gpu, GPUFit) else None


def _check_routes(service: type[ModelService]) -> None:
    """Find a route without types here, not in a container that has been paid for."""
    problems = []
    for name, route in routes_of(service).items():
        try:
            typed_route(name, route)
        except DeclarationError as error:
            problems.append(f"{service.__name__}: {error}")
    if problems:
        raise PlanError(problems)


def cls_keywords(service: type[ModelService], plan: ServicePlan) -> dict[str, Any]:
    """The keywords ``app.cls`` gets for a plan."""
    keywords = {
        **_common_keywords(service, plan),
        **plan.scaling.to_modal(),
        **plan.resources.to_modal(),
    }
    if plan.endpoint is not None and plan.endpoint.routing_region is not None:
        keywords["routing_region"] = plan.endpoint.routing_region
    return keywords


def server_keywords(service: type[ModelService], plan: ServicePlan) -> dict[str, Any]:
    """The keywords ``app.server`` gets for a plan."""
    assert plan.endpoint is not None  # noqa: S101 - a server plan has one
    return {
        **_common_keywords(service, plan),
        **plan.scaling.to_modal_server(),
        **plan.resources.to_modal_server(),
        **plan.endpoint.to_modal_server(),
    }


def _common_keywords(service: type[ModelService], plan: ServicePlan) -> dict[str, Any]:
    keywords: dict[str, Any] = {
        "image": _image(service, plan).to_modal(),
        "secrets": secrets_to_modal(plan.secrets),
        "volumes": {
            **(plan.weights.to_modal() if plan.weights else {}),
            **(plan.compiled.to_modal() if plan.compiled else {}),
        },
        **plan.cold_start.to_modal(),
    }
    if plan.gpu is not None:
        keywords["gpu"] = plan.gpu.to_modal()
    if plan.environment:
        keywords["env"] = dict(plan.environment)
    return keywords


def _image(service: type[ModelService], plan: ServicePlan) -> ImageSpec:
    """The image with what of this machine travels in it."""
    image = plan.image
    # In the container the folder has arrived already, and the file it lies beside has moved.
    if plan.model_folder is not None and plan.model is not None and modal.is_local():
        image = image.local_dir(str(_model_folder(service, plan.model_folder)), plan.model)
    template = template_beside(service.engine)
    if template is not None and modal.is_local():
        file = _chat_template(service, template)
        image = image.local_file(str(file), template_in_container(template))
    if plan.locked is not None and modal.is_local() and (lock := lock_path(service)) is not None:
        image = image.local_file(str(lock), CONTAINER_LOCK)
    return image


def _model_folder(service: type[ModelService], folder: str) -> Path:
    path = service_file(service).parent / folder
    if not (path / "config.json").is_file():
        msg = (
            f"{service.__name__}.model {folder!r} is not a model folder: {path / 'config.json'} does "
            "not exist. Write a folder beside the file, or a hub id such as 'Qwen/Qwen3-8B'."
        )
        raise DeclarationError(msg)
    return path.resolve()


def _chat_template(service: type[ModelService], template: str) -> Path:
    path = service_file(service).parent / template
    if not path.is_file():
        msg = (
            f"{service.__name__}.engine has chat_template {template!r}, but {str(path)!r} does not exist. Write a "
            "Jinja file beside the service's, or an absolute path in the container."
        )
        raise DeclarationError(msg)
    return path.resolve()


def _subclass(service: type[S], members: Mapping[str, object]) -> type[S]:
    """A subclass that pickles, prints and is found in the container as the user's own class."""
    annotations, parameters = _annotated(service)
    namespace = {
        **parameters,
        **members,
        "__annotations__": annotations,
        "__doc__": service.__doc__,
        "__module__": service.__module__,
        "__qualname__": service.__qualname__,
    }
    keywords = {"compiled": True}
    return types.new_class(
        service.__name__, (service,), keywords, lambda body: body.update(namespace)
    )


def _annotated(service: type[ModelService]) -> tuple[dict[str, object], dict[str, object]]:
    """The user's annotated attributes: Modal looks for ``modal.parameter`` in one class's own.

    Annotations are types here even where the file postpones them, which Modal does not read.
    """
    annotations: dict[str, object] = {}
    values: dict[str, object] = {}
    ours = ModelService.__mro__
    for owner in reversed([base for base in service.__mro__ if base not in ours]):
        own = _resolved_annotations(owner)
        values |= {name: vars(owner)[name] for name in own if name in vars(owner)}
        annotations |= own
    return annotations, values


def _resolved_annotations(owner: type) -> Mapping[str, object]:
    try:
        return inspect.get_annotations(owner, eval_str=True)
    except NameError:  # a name that only type checkers see; it is no parameter's type
        return inspect.get_annotations(owner)
