"""From a service's plan to its blueprint: what is shown, sized and priced. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pydantic import Field

from .._values import Value
from ..declare.endpoints import Endpoint
from ..declare.gpu import GPUFit, GPUProfile, gpu_catalogue
from ..declare.image import ImageSpec
from ..declare.image.bases import DebianSlim, Dockerfile, Registry
from ..declare.image.installs import PackageInstall, PyprojectFile, RequirementsFile, UvLock
from ..declare.image.layers import Apt, Env, LocalDir, LocalFile, LocalPython, Run, Workdir
from ..declare.image.order import ImageLayer
from ..declare.image.tested import TestedSet
from ..declare.secrets import merge_secrets
from ..errors import SizingError
from ..fitting import engine_name, fit_service, load_of
from ..plan import EnginePlan, RoutePlan, ServicePlan
from ..pricing import Quote, quote
from ..pricing.month import Throughput, Traffic
from ..pricing.rates import Rates
from ..service import ModelService
from ..sizing.fit import Pick, examine, largest_concurrency, largest_context
from ..sizing.memory import EngineName, Load
from ..sizing.model import GIB, ModelFacts
from .observing import observed_use
from .values import (
    EndpointUse,
    EngineUse,
    ImageUse,
    Memory,
    MemoryLine,
    SecretUse,
    ServiceBlueprint,
    VolumeUse,
)

__all__ = [
    "Assumptions",
    "Known",
    "describe_service",
    "examined",
    "image_use",
    "loading_s",
    "priced",
]

# Where nobody says how long a start takes: a container and an engine, then its weights. Not measured.
_START_S = 45.0
_LOAD_BYTES_PER_S = 1e9


class Assumptions(Value):
    """What a month's price rests on besides the file.

    Attributes:
        traffic: What each service is asked for; None gives no price of a month.
        measured: What one container was measured to do; None estimates it.
        request_s: Seconds of one request of a custom service.
        cold_start_s: From nothing to ready; None estimates it from the weights.
    """

    traffic: Traffic | None = None
    measured: Throughput | None = None
    request_s: float | None = Field(default=None, gt=0)
    cold_start_s: float | None = Field(default=None, ge=0)


@dataclass(frozen=True, slots=True)
class Known:
    """A service and what is known of its model.

    Attributes:
        service: The class, whose declarations say what its GPUs must bear.
        plan: Its plan.
        facts: The facts of its model; None where they are not known.
        reason: Why they are not.
    """

    service: type[ModelService]
    plan: ServicePlan
    facts: ModelFacts | None
    reason: str = ""

    @property
    def engine(self) -> EngineName | None:
        """Whose memory reserve its engine has."""
        return engine_name(self.service.engine)


def describe_service(known: Known, rates: Rates, assumed: Assumptions) -> ServiceBlueprint:
    """Return a service's blueprint."""
    plan = known.plan
    memory = _memory(known)
    price, reason = priced(known, rates, assumed)
    return ServiceBlueprint(
        name=plan.name,
        kind=plan.kind,
        served_as="server" if plan.is_server else "class",
        model=plan.model,
        revision=plan.revision,
        gpus=tuple(str(choice) for choice in plan.gpu.choices) if plan.gpu else (),
        memory=memory,
        unsized="" if memory else known.reason,
        passed_over=_passed_over(known),
        engine=_engine(plan.engine),
        image=image_use(plan.image),
        volumes=_volumes(plan),
        secrets=tuple(
            SecretUse(name=secret.name, keys=secret.keys) for secret in merge_secrets(plan.secrets)
        ),
        variables=tuple(sorted(plan.environment)),
        endpoint=_endpoint(plan.endpoint, plan.routes),
        methods=(*plan.methods, *(route.method for route in plan.routes)),
        observed=observed_use(known.service, plan),
        scaling=plan.scaling,
        cold_start=plan.cold_start,
        concurrency=plan.concurrency,
        resources=plan.resources,
        price=price,
        unpriced_month=reason if assumed.traffic else "",
    )


def priced(known: Known, rates: Rates, assumed: Assumptions) -> tuple[Quote, str]:
    """Return a service's price, and why there is none of a month under the traffic."""
    speeds, reason = _throughput(known, assumed)
    stored = _stored_gib(known)
    price = quote(known.plan, rates, traffic=assumed.traffic, throughput=speeds, stored_gib=stored)
    return price, reason


# ── memory and speed ────────────────────────────────────────────────────────────────────────────


def _memory(known: Known) -> tuple[Memory, ...]:
    if known.facts is None or known.plan.gpu is None or known.engine is None:
        return ()
    load = load_of(known.service, known.facts)
    return tuple(
        _memory_of(choice, known.facts, load, known.engine)
        for choice in known.plan.gpu.choices
        if choice.gpu in gpu_catalogue()
    )


def _passed_over(known: Known) -> tuple[str, ...]:
    """Why not each cheaper choice, where the GPUs were left to modalkit."""
    if known.facts is None or known.engine is None or not isinstance(known.service.gpu, GPUFit):
        return ()
    try:
        return tuple(fit_service(known.service, known.facts).explain(cheaper_only=True))
    except SizingError:  # the lock chose when prices or cards were others
        return ()


def _memory_of(choice: GPUProfile, facts: ModelFacts, load: Load, engine: EngineName) -> Memory:
    one = examined(choice, facts, load, engine)
    total = one.gpu.total_gib
    return Memory(
        gpu=str(choice),
        engine=engine,
        context=load.context,
        concurrency=load.concurrency,
        total_bytes=one.breakdown.total_bytes,
        lines=tuple(
            MemoryLine(what=line.what, bytes=line.bytes, source=line.how)
            for line in one.breakdown.lines
        ),
        free_bytes=one.breakdown.free_bytes,
        problem=one.problem,
        largest_context=largest_context(facts, load, one.split, total, engine),
        largest_concurrency=largest_concurrency(facts, load, one.split, total, engine),
        tokens_per_s=one.speed.tokens_per_s,
    )


def examined(choice: GPUProfile, facts: ModelFacts, load: Load, engine: EngineName) -> Pick:
    """Work out how a model sits on a choice of the catalogue."""
    return examine(facts, load, engine, (gpu_catalogue()[choice.gpu], choice.count))


def _throughput(
    known: Known, assumed: Assumptions
) -> tuple[tuple[Throughput, Throughput] | None, str]:
    """The slow and fast end of what a container does, or why nobody knows."""
    cold_s = loading_s(known.facts) if assumed.cold_start_s is None else assumed.cold_start_s
    if assumed.request_s is not None:
        stated = Throughput(
            slots=known.plan.concurrency, request_s=assumed.request_s, cold_start_s=cold_s
        )
        return (stated, stated), ""
    if assumed.measured is not None:
        return (assumed.measured, assumed.measured), ""
    if known.plan.kind == "custom":
        return None, "a custom model's speed is not known; say --request-seconds"
    if assumed.traffic is None or known.facts is None or not known.engine or not known.plan.gpu:
        return None, known.reason or "the speed of this engine is not known; say --request-seconds"
    if known.plan.gpu.gpu not in gpu_catalogue():
        return None, f"nothing is known of the GPU {known.plan.gpu.gpu}; say --request-seconds"
    return _estimate(known, known.facts, assumed.traffic, cold_s)


def _estimate(
    known: Known, facts: ModelFacts, traffic: Traffic, cold_start_s: float
) -> tuple[tuple[Throughput, Throughput] | None, str]:
    engine, choice = known.engine, known.plan.gpu
    assert engine is not None  # noqa: S101 - the caller has looked
    assert choice is not None  # noqa: S101
    gpu = gpu_catalogue()[choice.gpu]
    cache_bytes = load_of(known.service, facts).cache_bytes
    one = Load(max(1, traffic.tokens_in + traffic.tokens_out), 1, cache_bytes)
    pick = examined(choice, facts, one, engine)
    most = largest_concurrency(facts, one, pick.split, gpu.total_gib, engine)
    slots = min(known.plan.concurrency, most)
    if not slots:
        return None, f"not one request of {one.context:,} tokens fits {choice}"
    full = examined(choice, facts, Load(one.context, slots, cache_bytes), engine).speed
    prompt = examined(choice, facts, Load(max(1, traffic.tokens_in), 1, cache_bytes), engine)
    first = prompt.speed.first_token_s
    reading = [traffic.tokens_in / first[end] if first else 0.0 for end in (1, 0)]
    slow, fast = (
        Throughput(
            slots=slots,
            tokens_per_s=full.tokens_per_s[end],
            prompt_tokens_per_s=reading[end],
            cold_start_s=cold_start_s,
            source="a roofline estimate, not measured",
        )
        for end in (0, 1)
    )
    return (slow, fast), ""


def loading_s(facts: ModelFacts | None) -> float:
    """Return how long a cold start is taken to be: 45 s and a second for each GB of weights."""
    return _START_S + (facts.weight_bytes / _LOAD_BYTES_PER_S if facts else 0.0)


def _stored_gib(known: Known) -> float:
    """GiB of weights that a declared cache keeps; what else it holds is not known."""
    plan = known.plan
    if plan.weights is None or known.facts is None or plan.model_folder is not None:
        return 0.0
    return (known.facts.weight_bytes + known.facts.extra_stored_bytes) / GIB


# ── what it is made of ──────────────────────────────────────────────────────────────────────────


def _engine(engine: EnginePlan | None) -> EngineUse | None:
    if engine is None:
        return None
    return EngineUse(
        title=engine.title,
        argv=engine.argv,
        environment=tuple(sorted(engine.environment)),
        ready_path=engine.ready_path,
        recipe=engine.recipe,
        on_demand=engine.on_demand,
    )


def _volumes(plan: ServicePlan) -> tuple[VolumeUse, ...]:
    cache = plan.weights
    if cache is None:
        return ()
    return (VolumeUse(mount=cache.mount, name=cache.name, read_only=cache.read_only),)


def _endpoint(endpoint: Endpoint | None, routes: tuple[RoutePlan, ...]) -> EndpointUse | None:
    if endpoint is None:
        return None
    return EndpointUse(
        kind=endpoint.kind,
        path=endpoint.path,
        auth=_auth(endpoint),
        public=endpoint.public,
        routes=tuple(route.path for route in routes),
        origins=endpoint.cors.origins if endpoint.cors else (),
        label=endpoint.label,
        region=endpoint.routing_region,
    )


def _auth(endpoint: Endpoint) -> str:
    asked = ["Modal proxy tokens"] if endpoint.asks_proxy_tokens else []
    if (keys := endpoint.keys) is not None:
        asked.append(f"Bearer keys, from {keys.variable} in Secret {keys.secret.name!r}")
    chosen = {"/health": (endpoint.health, "open"), "/metrics": (endpoint.metrics, "closed")}
    unusual = [f"; {route} {said}" for route, (said, usual) in chosen.items() if said != usual]
    return (" and ".join(asked) or "anyone") + "".join(unusual)


def image_use(image: ImageSpec) -> ImageUse:
    """Return an image by its layers; values of variables stay out."""
    digest = hashlib.sha256(image.model_dump_json().encode()).hexdigest()
    return ImageUse(
        base=_base(image),
        layers=tuple(_layer(layer) for layer in image.ordered if not isinstance(layer, TestedSet)),
        fingerprint=digest[:16],
    )


def _base(image: ImageSpec) -> str:
    match image.base:
        case DebianSlim(python=python):
            return f"Debian slim with Python {python}"
        case Registry(tag=tag, add_python=python):
            return f"{tag} with Python {python}" if python else tag
        case Dockerfile(path=path):
            return f"Dockerfile {path}"
        case other:
            return other.kind


def _layer(layer: ImageLayer) -> str:
    match layer:
        case PackageInstall(requirements=requirements):
            return f"{layer.kind} {' '.join(requirements)}"
        case RequirementsFile(path=path) | PyprojectFile(path=path):
            return f"{layer.kind} {path}"
        case UvLock(project_dir=folder):
            return f"uv lock of {folder}"
        case Apt(packages=packages):
            return f"apt {' '.join(packages)}"
        case Env(variables=variables):
            return f"env {' '.join(name for name, _ in variables)}"
        case Run(commands=commands):
            return f"run {'; '.join(commands)}"
        case Workdir(path=text) | TestedSet(by=text):
            return f"{layer.kind} {text}"
        case LocalDir(source=source, target=target) | LocalFile(source=source, target=target):
            return f"{'copy' if layer.built_in else 'mount'} {source} at {target}"
        case LocalPython(modules=modules):
            return f"{'copy' if layer.built_in else 'mount'} Python {' '.join(modules)}"
