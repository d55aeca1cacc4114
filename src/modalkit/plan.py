"""What a service will be, as data: made from its declarations alone, before anything happens.

A plan is pure: the same class gives the same plan on every machine, nothing is read, started or
asked. It is what `compile` turns into Modal objects and what a container starts from.
"""

from __future__ import annotations

from typing import Literal

from ._values import Value
from .conflicts import conflicts
from .declare.batches import Batch
from .declare.cold_start import ColdStart, CompileVolume, startup_timeout_s
from .declare.endpoints import Endpoint
from .declare.gpu import GPUFit, GPUProfile
from .declare.image import ImageSpec
from .declare.resources import Resources
from .declare.scaling import Scaling
from .declare.secrets import Secret
from .declare.tracing import collector, with_tracing
from .declare.webhook import Webhook
from .declare.weights import WeightCache
from .engines import GPUEngine
from .engines.base import Engine, Launch
from .engines.recipes import RecipeUse
from .engines.templates import template_beside, template_in_container
from .errors import PlanError
from .lock import LockedService
from .lock.pinned_image import pinned_image
from .service import ModelService, lock_command, routes_of

__all__ = [
    "ENGINE_METHODS",
    "EnginePlan",
    "RoutePlan",
    "ServicePlan",
    "engine_of",
    "plan_service",
]

ENGINE_METHODS = ("generate", "chat", "stream", "embed", "rerank")

# Behind modalkit's gateway the engine listens on a free port of its container, chosen there. Plans
# show this one.
ENGINE_PORT = 8899

# Requests one container takes at a time where the service does not say: an engine batches what
# it is given, a custom model takes one at a time unless it declares batches.
ENGINE_CONCURRENCY = 64


class EnginePlan(Value):
    """How an engine process will be started.

    Attributes:
        title: The engine's name for people.
        launch: What it is started with on the first GPU choice.
        argv: Its command line there.
        environment: Variables it is given.
        ready_path: The route asked until it answers 200.
        recipe: The recipe that filled fields which the declaration leaves out.
        on_demand: Adapters that it loads when they are asked for, as ``name=source``.
    """

    title: str
    launch: Launch
    argv: tuple[str, ...]
    environment: dict[str, str]
    ready_path: str
    recipe: RecipeUse | None = None
    on_demand: tuple[str, ...] = ()


class RoutePlan(Value):
    """One typed route of a custom service."""

    method: str
    path: str
    batch: Batch | None


class ServicePlan(Value):
    """Everything `compile` needs to know of one service.

    Attributes:
        name: The class name, which Modal uses too.
        kind: ``"engine"`` when an engine serves the model, ``"custom"`` when the class does.
        model: What the container loads: a hub id or an absolute path there.
        model_folder: A folder beside the file that travels with the image, as written.
        revision: Commit of the hub repository, the locked one unless the service names another.
        engine: How the engine is started; ``None`` for a custom service.
        gpu: GPU choices; ``None`` runs on CPU.
        image: The whole image, modalkit's own needs included; a model folder joins it last.
        weights: The weight cache, if there is one.
        environment: Plain variables of the container.
        secrets: Secrets in the order they are applied.
        scaling: Containers and timeouts; the start-up timeout is sized to the model where the lock
            knows its size and the service does not say.
        cold_start: Snapshots, warm-up and budget.
        compiled: The Volume of compiled kernels beside weights that are mounted read-only.
        concurrency: Inputs one container takes at a time.
        endpoint: The HTTP endpoint, if there is one.
        routes: Typed routes of a custom service.
        methods: Names of the remote methods modalkit adds.
        resources: CPU, memory, disk, region.
        on_failure: Who is told of failures, if anyone.
        tracing: Where its traces go, as its variables say; ``None`` for nowhere.
        locked: What the lock holds for it, or what a fit was worked out from; None without either.
        verify: How a container holds its weights to the lock.
        prefetched: Whether its weights must be in the cache before it starts: then ``weights`` is
            mounted read-only, and nothing is downloaded.
    """

    name: str
    kind: Literal["engine", "custom"]
    model: str | None
    model_folder: str | None
    revision: str | None
    engine: EnginePlan | None
    gpu: GPUProfile | None
    image: ImageSpec
    weights: WeightCache | None
    environment: dict[str, str]
    secrets: tuple[Secret, ...]
    scaling: Scaling
    cold_start: ColdStart = ColdStart()
    compiled: CompileVolume | None = None
    concurrency: int
    endpoint: Endpoint | None
    routes: tuple[RoutePlan, ...]
    methods: tuple[str, ...]
    resources: Resources
    on_failure: Webhook | None = None
    tracing: str | None = None
    locked: LockedService | None = None
    verify: Literal["size", "sha256"] = "size"
    prefetched: bool = False

    @property
    def is_server(self) -> bool:
        """Whether Modal's low-latency server serves it, which has no remote methods."""
        return self.endpoint is not None and self.endpoint.kind == "server"


def plan_service(service: type[ModelService], locked: LockedService | None = None) -> ServicePlan:
    """Work out what a service class will be.

    Args:
        service: The class.
        locked: What is locked for it, as `lookup.locked_service` finds it.

    Raises:
        PlanError: Every combination of declarations that cannot work, at once; a fit that is not locked.
    """
    _refuse_the_impossible(service, locked)
    routes = _routes(service)
    model, folder = _model_in_container(service)
    gpu, revision = _gpu(service, locked), _revision(service, locked)
    return ServicePlan(
        name=service.__name__,
        kind="engine" if service.engine else "custom",
        model=model,
        model_folder=folder,
        revision=revision,
        engine=_engine_plan(service, model, gpu, locked),
        gpu=gpu,
        image=pinned_image(_image(service), locked),
        weights=_weights_when_serving(service),
        environment=_environment(service),
        secrets=_secrets(service),
        scaling=_scaling(service, locked),
        cold_start=service.cold_start,
        compiled=_compiled(service),
        concurrency=_concurrency(service, routes),
        endpoint=service.api,
        routes=routes,
        methods=_engine_methods(service),
        resources=service.resources,
        on_failure=service.on_failure,
        tracing=collector(service.env, service.secrets),
        locked=locked,
        verify=service.verify,
        prefetched=_is_prefetched(service),
    )


def _refuse_the_impossible(service: type[ModelService], locked: LockedService | None) -> None:
    problems = [*conflicts(service), *_unlocked(service, locked)]
    if problems:
        raise PlanError([f"{service.__name__}: {problem}" for problem in problems])


def engine_of(service: type[ModelService]) -> Engine | None:
    """Return the engine as it will run: with its recipe, and a fit's context as its own."""
    engine, fit = service.engine, service.gpu
    if isinstance(engine, GPUEngine):
        engine = engine.with_recipe(service.model)
        if (template := template_beside(engine)) is not None:
            engine = engine.model_copy(update={"chat_template": template_in_container(template)})
    if engine is None or not isinstance(fit, GPUFit) or fit.context is None:
        return engine
    if getattr(engine, "context_length", None) is not None:
        return engine
    return engine.model_copy(update={"context_length": fit.context})


def _unlocked(service: type[ModelService], locked: LockedService | None) -> list[str]:
    if not isinstance(service.gpu, GPUFit) or (locked is not None and locked.gpu):
        return []
    return [f"gpu = GPUProfile.{service.gpu} is not locked. Run: {lock_command(service)}"]


def _gpu(service: type[ModelService], locked: LockedService | None) -> GPUProfile | None:
    if not isinstance(service.gpu, GPUFit):
        return service.gpu
    first, *others = locked.gpu if locked else ()
    return GPUProfile(
        first, fallbacks=[other if ":" in other else f"{other}:1" for other in others]
    )


def _revision(service: type[ModelService], locked: LockedService | None) -> str | None:
    commit = locked.model.commit if locked and locked.model else None
    return service.revision or commit


def _engine_methods(service: type[ModelService]) -> tuple[str, ...]:
    """The remote methods to add: those of an engine that the user has not written themselves."""
    if service.engine is None or _server(service):
        return ()
    return tuple(name for name in ENGINE_METHODS if not hasattr(service, name))


def _engine_plan(
    service: type[ModelService],
    model: str | None,
    gpu: GPUProfile | None,
    locked: LockedService | None,
) -> EnginePlan | None:
    engine = engine_of(service)
    if engine is None:
        return None
    server, declared = _server(service), service.engine
    launch = Launch(
        model=model or service.__name__,
        revision=_revision(service, locked),
        served_name=_served_name(service),
        host="0.0.0.0" if server else "127.0.0.1",  # noqa: S104 - Modal's proxy reaches it there
        port=server.port if server else ENGINE_PORT,
        gpu_count=gpu.count if gpu else 0,
        door=server is not None,  # else the gateway in front of the engine has it
        admin_key=server is None and engine.admin_key_variable is not None,
        snapshot=service.cold_start.snapshot == "gpu",
        from_volume=_on_volume(service, model),
        adapters=_adapters(service, engine, locked),
    )
    return EnginePlan(
        title=engine.title,
        launch=launch,
        argv=engine.argv(launch),
        environment=engine.environment(launch),
        ready_path=engine.ready_path,
        recipe=declared.recipe_use(service.model) if isinstance(declared, GPUEngine) else None,
        on_demand=_on_demand(engine),
    )


def _on_demand(engine: Engine) -> tuple[str, ...]:
    adapters = engine.lora if isinstance(engine, GPUEngine) else ()
    return tuple(f"{one.name}={one.source}" for one in adapters if one.on_demand)


def _on_volume(service: type[ModelService], model: str | None) -> bool:
    """Whether the model is read from the weight cache, not from the image."""
    if service.weights is None or model is None:
        return False
    return not model.startswith("/") or model.startswith(f"{service.weights.mount}/")


def _adapters(
    service: type[ModelService], engine: Engine, locked: LockedService | None
) -> dict[str, str]:
    """Where adapters of a commit lie, declared or locked; engines themselves would look for the newest."""
    cache = service.weights
    if cache is None or not isinstance(engine, GPUEngine):
        return {}
    held = locked if _is_prefetched(service) else None
    commits = {
        one: one.revision or (held.commit_beside(one.source) if held else None)
        for one in engine.lora
    }
    return {
        one.name: cache.path(
            *("huggingface", "hub", f"models--{one.source.replace('/', '--')}"),
            *("snapshots", commit),
        )
        for one, commit in commits.items()
        if commit is not None
    }


def _served_name(service: type[ModelService]) -> str:
    """The last part of the model's name, as a client would write it: ``Qwen3-8B``."""
    named = getattr(service.engine, "served_name", None)
    if named:
        return str(named)
    return (service.model or service.__name__).rstrip("/").rpartition("/")[2]


def _model_in_container(service: type[ModelService]) -> tuple[str | None, str | None]:
    """The model as the container sees it, and the local folder it comes from, if any."""
    model = service.model
    if model is not None and model.startswith("."):
        return f"/models/{model.rstrip('/').rpartition('/')[2]}", model
    return model, None


def _image(service: type[ModelService]) -> ImageSpec:
    spec, engine = service.image, service.engine
    traced = collector(service.env, service.secrets) is not None
    if engine is None or (spec is not None and not spec.extends_engine):
        image = spec or ImageSpec()
    else:
        image = spec.on(engine.image()) if spec else engine.image()
        if engine.runtime_included:
            return image.local_python("modalkit", data_files=True)
    return (with_tracing(image) if traced else image).with_modalkit()


def _environment(service: type[ModelService]) -> dict[str, str]:
    cache, compiled = _weights_when_serving(service), _compiled(service)
    if cache is None:
        return dict(service.env)
    variables = {**cache.env, **cache.compile_env(compiled.mount if compiled else None)}
    if not service.cold_start.compile_cache:
        variables = {
            name: value for name, value in variables.items() if name not in cache.compile_env()
        }
    return {**variables, **service.env}


def _compiled(service: type[ModelService]) -> CompileVolume | None:
    """Weights mounted read-only hold no kernels: those get a Volume of their own."""
    cache = _weights_when_serving(service)
    if cache is None or not cache.read_only or not service.cold_start.compile_cache:
        return None
    return CompileVolume(name=f"{cache.name}-compiled", environment_name=cache.environment_name)


def _scaling(service: type[ModelService], locked: LockedService | None) -> Scaling:
    scaling, model = service.scaling, locked.model if locked else None
    if "startup_timeout" in scaling.model_fields_set or model is None or not model.total_bytes:
        return scaling
    compiles = service.engine is not None and service.engine.compiles
    seconds = startup_timeout_s(model.total_bytes, compiles=compiles)
    return scaling.model_copy(update={"startup_timeout": seconds})


def _is_prefetched(service: type[ModelService]) -> bool:
    """Whether a hub's model, or one with a source of its own, is kept in a cache that we fill."""
    cache, model = service.weights, service.model
    if cache is None or model is None or model.startswith((".", "/")):
        return False
    return cache.fill == "prefetch" and not cache.read_only


def _weights_when_serving(service: type[ModelService]) -> WeightCache | None:
    cache = service.weights
    if cache is None or not _is_prefetched(service):
        return cache
    return cache.model_copy(update={"read_only": True})


def _secrets(service: type[ModelService]) -> tuple[Secret, ...]:
    key = service.api.keys if service.api else None
    told = service.on_failure.secrets if service.on_failure else ()
    return (*service.secrets, *((key.secret,) if key else ()), *told)


def _concurrency(service: type[ModelService], routes: tuple[RoutePlan, ...]) -> int:
    if service.scaling.concurrency is not None:
        return service.scaling.concurrency
    if service.engine is not None:
        return ENGINE_CONCURRENCY
    # Two batches' worth: one runs while the next one gathers.
    return max([2 * route.batch.max_size for route in routes if route.batch], default=1)


def _server(service: type[ModelService]) -> Endpoint | None:
    """The endpoint of a service behind Modal's low-latency servers."""
    return service.api if service.api and service.api.kind == "server" else None


def _routes(service: type[ModelService]) -> tuple[RoutePlan, ...]:
    return tuple(
        RoutePlan(method=name, path=route.path, batch=route.batch)
        for name, route in routes_of(service).items()
    )
