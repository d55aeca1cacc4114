"""From a service's plan to its blueprint: what is shown, sized and priced. Pure."""

from __future__ import annotations

import hashlib

from ..declare.endpoints import Endpoint
from ..declare.image import ImageSpec
from ..declare.image.bases import DebianSlim, Dockerfile, Registry
from ..declare.image.installs import PackageInstall, PyprojectFile, RequirementsFile, UvLock
from ..declare.image.layers import Apt, Env, LocalDir, LocalFile, LocalPython, Run, Workdir
from ..declare.image.order import ImageLayer
from ..declare.image.tested import TestedSet
from ..declare.key_shapes import without_credentials
from ..declare.secrets import merge_secrets
from ..plan import EnginePlan, RoutePlan, ServicePlan
from ..pricing import Quote, quote
from ..pricing.rates import Rates
from ..sizing.model import GIB
from .known import Assumptions, Known
from .memory import memory_of, passed_over
from .observing import observed_use
from .speeds import throughput
from .values import (
    EndpointUse,
    EngineUse,
    ImageUse,
    SecretUse,
    ServiceBlueprint,
    VolumeUse,
)

__all__ = ["describe_service", "image_use", "priced"]


def describe_service(known: Known, rates: Rates, assumed: Assumptions) -> ServiceBlueprint:
    """Return a service's blueprint."""
    plan = known.plan
    memory = memory_of(known)
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
        passed_over=passed_over(known),
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
    speeds, reason = throughput(known, assumed)
    stored = _stored_gib(known)
    price = quote(known.plan, rates, traffic=assumed.traffic, throughput=speeds, stored_gib=stored)
    return price, reason


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
        argv=tuple(map(without_credentials, engine.argv)),
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
        layers=tuple(
            without_credentials(_layer(layer))
            for layer in image.ordered
            if not isinstance(layer, TestedSet)
        ),
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
