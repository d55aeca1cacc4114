"""Declarations that are possible alone but not together; each conflict says what to write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from .cuda import cuda_problem
from .declare.endpoints import Endpoint
from .declare.gpu import GPUFit
from .declare.image import ImageSpec
from .declare.image.layers import Env
from .engines import VLLM, GPUEngine, SGLang, Transformers
from .engines.base import Engine, Launch
from .errors import DeclarationError
from .service import ModelService, routes_of

__all__ = ["conflicts"]

_OWN_PATHS = ("/docs", "/health", "/metrics", "/openapi.json")


def conflicts(service: type[ModelService]) -> Iterator[str]:
    """Yield every combination of a service's declarations that cannot work."""
    yield from _engine_conflicts(service)
    yield from _model_conflicts(service)
    yield from _weights_conflicts(service)
    yield from _route_conflicts(service)
    yield from _environment_conflicts(service)
    yield from _cold_start_conflicts(service)


def _engine_conflicts(service: type[ModelService]) -> Iterator[str]:
    engine = service.engine
    if engine is None:
        if service.image is not None and service.image.extends_engine:
            yield "image extends the engine's, but there is no engine. Begin with ImageSpec()."
        if isinstance(service.gpu, GPUFit):
            yield (
                f"gpu = GPUProfile.{service.gpu}: how much memory a custom model takes is not known. "
                "Write gpu = GPUProfile('L40S')."
            )
        return
    if service.model is None and engine.needs_model:
        yield f"engine {engine.title} needs a model. Write model = 'org/name'."
    if service.gpu is None and engine.needs_gpu:
        yield f"engine {engine.title} needs a GPU. Write gpu = GPUProfile('L40S')."
    yield from _image_conflicts(service.image, engine)
    yield from _adapter_conflicts(service, engine)
    for name in ("load", "wake", "warm_up", "self_test", "unload"):
        if getattr(service, name) is not getattr(ModelService, name):
            yield f"{name} is never called: {engine.title} serves the model. Use @modal.enter()."
    yield from _parallelism_conflicts(service, engine)
    yield from _endpoint_conflicts(service.api, engine)
    for name, route in routes_of(service).items():
        yield (
            f"{name} is an @endpoint({route.path!r}) of a service with an engine, whose routes are "
            "the engine's. Move it to a service without an engine."
        )


def _adapter_conflicts(service: type[ModelService], engine: Engine) -> Iterator[str]:
    """An engine that fetches an adapter itself takes the newest commit, and at its start."""
    cache = service.weights
    if cache is not None and cache.fill == "prefetch" and not cache.read_only:
        return
    for one in engine.lora if isinstance(engine, GPUEngine) else ():
        if one.revision is not None:
            yield (
                f"LoRA({one.name!r}).revision is kept by a prefetched cache only. "
                "Write weights = WeightCache('name')."
            )
        if one.on_demand and one.is_on_hub:
            yield (
                f"LoRA({one.name!r}, on_demand=True) is loaded from a prefetched cache only: serving never "
                "downloads. Write weights = WeightCache('name')."
            )


def _image_conflicts(image: ImageSpec | None, engine: Engine) -> Iterator[str]:
    """What the image adds must leave the engine the versions that it was tested with."""
    if image is not None and image.extends_engine:
        try:
            image.on(engine.image())
        except DeclarationError as error:
            yield str(error)


def _endpoint_conflicts(api: Endpoint | None, engine: Engine) -> Iterator[str]:
    """What an endpoint asks of an engine that the engine does not do."""
    if api is None:
        return
    if api.kind == "server" and not engine.takes_door:
        yield (
            f"Endpoint(kind='server') reaches the port of {engine.title} directly, and nothing there "
            "asks for a key or keeps its administration closed. Write kind='web', or let its process "
            "put modalkit.runtime.door.EngineDoor in front and say takes_door = True."
        )
    if api.metrics != "closed" and getattr(engine, "metrics", True) is False:
        yield (
            f"Endpoint(metrics={api.metrics!r}) has nothing to show with {engine.title}(metrics=False). "
            "Leave one of them out."
        )


def _parallelism_conflicts(service: type[ModelService], engine: Engine) -> Iterator[str]:
    """A fallback with another count must start too, not only the first choice."""
    if isinstance(service.gpu, GPUFit):
        yield from _fit_conflicts(engine, service.gpu)
        return
    door = service.api is not None and service.api.kind == "server"
    for choice in service.gpu.choices if service.gpu else ():
        launch = Launch(model="any", served_name="any", gpu_count=choice.count, door=door)
        try:
            engine.argv(launch)
        except DeclarationError as error:
            yield f"on {choice}: {error}"
        if problem := cuda_problem(choice.gpu, service):
            yield problem


_SIZED = (SGLang, VLLM, Transformers)


def _fit_conflicts(engine: Engine, fit: GPUFit) -> Iterator[str]:
    """What a fit could not keep its word with."""
    if not isinstance(engine, _SIZED):
        yield (
            f"gpu = GPUProfile.{fit}: how much memory {engine.title} takes is not known. "
            "Write gpu = GPUProfile('L40S')."
        )
    if getattr(engine, "tensor_parallel", None):
        yield (
            f"{engine.title}(tensor_parallel=...) contradicts GPUProfile.fit, which finds it out for each "
            "entry. Leave tensor_parallel out, or name the GPU."
        )
    most = getattr(engine, "max_running_requests", None)
    if most is not None:
        most *= getattr(engine, "data_parallel", None) or 1
        if fit.concurrency is not None and most < fit.concurrency:
            yield (
                f"{engine.title}(max_running_requests=...) answers {most} requests at once, fewer than "
                f"GPUProfile.fit(concurrency={fit.concurrency}) asks for. Write one of them as the other."
            )
    served = getattr(engine, "context_length", None)
    if fit.context is not None and served is not None and served > fit.context:
        yield (
            f"{engine.title}(context_length={served}) serves more than GPUProfile.fit(context="
            f"{fit.context}) makes room for. Write context once: leave it out of fit."
        )


def _model_conflicts(service: type[ModelService]) -> Iterator[str]:
    model = service.model or ""
    if service.revision is not None and model.startswith((".", "/")):
        yield f"revision {service.revision!r} names a hub commit, but model {model!r} is a folder."
    if service.revision is not None and not model:
        yield f"revision {service.revision!r} has no model to belong to. Write model = 'org/name'."
    mount = service.weights.mount if service.weights else None
    if mount and (mount == "/models" or mount.startswith("/models/")) and model.startswith("."):
        yield f"weights are mounted at {mount!r}, where the folder {model!r} goes. Mount at '/cache'."


def _weights_conflicts(service: type[ModelService]) -> Iterator[str]:
    """A source that nothing would read."""
    source, model = service.weights.source if service.weights else None, service.model
    if source is not None and (model is None or model.startswith((".", "/"))):
        yield (
            f"weights come from {str(source)!r}, but model is {model!r}, which is loaded from elsewhere. "
            "Give what the source holds a name: model = 'org/name'."
        )


def _route_conflicts(service: type[ModelService]) -> Iterator[str]:
    routes = routes_of(service)
    is_server = service.api is not None and service.api.kind == "server"
    if is_server and service.engine is None and not routes:
        yield "Endpoint(kind='server') has nothing to serve. Write a method with @endpoint('/path')."
    if service.api is None and routes:
        yield "api = None serves no HTTP, but there are @endpoint routes. Remove one or the other."
    for name, route in routes.items():
        if route.path in _OWN_PATHS:
            yield f"{name}: the path {route.path!r} is modalkit's own. Choose another."
        most = service.scaling.concurrency
        if route.batch and most is not None and most < route.batch.max_size:
            yield (
                f"{name} gathers batches of {route.batch.max_size}, but "
                f"Scaling(concurrency={most}) lets no more than {most} requests in. "
                f"Write concurrency={2 * route.batch.max_size}."
            )
    by_path = sorted((route.path, name) for name, route in routes.items())
    for path, group in groupby(by_path, key=lambda pair: pair[0]):
        names = [name for _, name in group]
        if len(names) > 1:
            yield f"{' and '.join(names)} have the same path {path!r}. Give each its own."


def _environment_conflicts(service: type[ModelService]) -> Iterator[str]:
    key = service.api.keys if service.api else None
    for secret in (*service.secrets, *((key.secret,) if key else ())):
        for key in secret.keys:
            if key in service.env:
                yield f"env sets {key!r}, which Secret({secret.name!r}) also brings. Keep the secret."
    yield from _opened_routes(service)


def _opened_routes(service: type[ModelService]) -> Iterator[str]:
    """Variables by which an engine that is reached directly would serve its administration."""
    engine, api = service.engine, service.api
    if engine is None or api is None or api.kind != "server":
        return
    places: list[tuple[str, Mapping[str, str]]] = [("env", service.env)]
    if service.image is not None:
        layers = (layer for layer in service.image.layers if isinstance(layer, Env))
        places += [("image", dict(layer.variables)) for layer in layers]
    # What a secret's value is, is not known here.
    places += [(f"Secret({one.name!r})", dict.fromkeys(one.keys, "?")) for one in service.secrets]
    for where, variables in places:
        for name in sorted(engine.opening_variables & set(variables)):
            if variables[name] not in {"", "0"}:
                yield (
                    f"{where} sets {name}, by which {engine.title} serves administration without a "
                    "key on the port that Endpoint(kind='server') opens to the outside. Write "
                    "Endpoint(kind='web'), or leave the variable out."
                )


def _cold_start_conflicts(service: type[ModelService]) -> Iterator[str]:
    declared, engine = service.cold_start, service.engine
    if declared.snapshot == "gpu" and service.gpu is None:
        yield (
            "ColdStart(snapshot='gpu') keeps the memory of GPUs, but there is no gpu. Write "
            "snapshot='cpu', or gpu = GPUProfile('L40S')."
        )
    if engine is None and "warm_up" in declared.model_fields_set:
        yield (
            f"ColdStart(warm_up={declared.warm_up}) counts requests to an engine, and there is none. "
            "Leave it out and write def warm_up(self)."
        )
    is_server = service.api is not None and service.api.kind == "server"
    if declared.snapshot == "gpu" and engine is not None and engine.sleep_path and is_server:
        yield (
            f"ColdStart(snapshot='gpu') lets {engine.title} sleep and wake through routes that anyone "
            "who reaches Endpoint(kind='server') could call. Write Endpoint(kind='web'), whose gateway "
            "keeps them closed, or snapshot='cpu'."
        )
