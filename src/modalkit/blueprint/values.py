"""The blueprint of a file: plain values whose JSON Schema is ``docs/plan.schema.json``.

No secret's value has a place here: secrets are names and keys, variables are names.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .._values import Value
from ..declare.cold_start import ColdStart
from ..declare.exposure import AccessLog, Exposure
from ..declare.resources import Resources
from ..declare.scaling import Scaling
from ..engines.recipes import RecipeUse
from ..pricing import ContainerPrice, Quote

__all__ = [
    "AppBlueprint",
    "Blueprint",
    "EndpointUse",
    "EngineUse",
    "FunctionBlueprint",
    "ImageUse",
    "Memory",
    "MemoryLine",
    "ObservedUse",
    "ResourceUse",
    "SecretUse",
    "ServiceBlueprint",
    "VolumeUse",
]


class ImageUse(Value):
    """An image by its layers.

    Attributes:
        base: What it starts from.
        layers: Its steps, in the order they are built.
        fingerprint: A digest of the declaration; it changes when the image does.
    """

    base: str
    layers: tuple[str, ...]
    fingerprint: str


class VolumeUse(Value):
    """Something mounted into a container."""

    mount: str
    name: str
    read_only: bool = False


class SecretUse(Value):
    """A Secret by name, with the keys it must hold; never a value."""

    name: str
    keys: tuple[str, ...] = ()


class ResourceUse(Value):
    """What a plain function asks for, as it is written: Modal alone judges it.

    Attributes:
        cpu: Cores, or request and limit.
        memory_mib: Memory in MiB, or request and limit.
        disk_mib: Local disk in MiB.
        region: Regions to choose from.
        cloud: The cloud, where one is chosen.
        nonpreemptible: Whether it is never moved.
    """

    cpu: float | tuple[float, float] | None = None
    memory_mib: int | tuple[int, int] | None = None
    disk_mib: int | None = None
    region: tuple[str, ...] = ()
    cloud: str | None = None
    nonpreemptible: bool = False


class EngineUse(Value):
    """How an engine is started.

    Attributes:
        title: Its name.
        argv: Its command line on the first GPU choice.
        environment: Names of the variables it is given.
        ready_path: The route asked until it answers.
        recipe: The recipe for the model's family, and the fields that it decides.
        on_demand: Adapters that it loads when they are asked for, as ``name=source``.
    """

    title: str
    argv: tuple[str, ...]
    environment: tuple[str, ...]
    ready_path: str
    recipe: RecipeUse | None = None
    on_demand: tuple[str, ...] = ()


class EndpointUse(Value):
    """An HTTP endpoint.

    Attributes:
        kind: ``"web"``, or ``"server"`` behind Modal's low-latency servers.
        path: Where its routes begin.
        auth: Who may call it, in words.
        public: Whether anyone may.
        routes: Paths of typed routes.
        origins: Web pages of other origins that may call it.
        label: First part of its host name, where it is chosen.
        region: Where requests are routed through, where it is chosen.
    """

    kind: str
    path: str
    auth: str
    public: bool
    routes: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    label: str | None = None
    region: str | None = None


class ObservedUse(Value):
    """What a service tells of itself, and whom.

    Attributes:
        health: Who may ask ``/health``.
        health_is: What stands behind it: the engine, the service's ``self_test``, or its start.
        metrics: Who may read ``/metrics``.
        log: What is logged of each request.
        traces: Where its traces go; ``None`` for nowhere.
        failures: Who is told of failures; ``None`` for nobody.
        events: Which ones.
    """

    health: Exposure
    health_is: Literal["engine", "self_test", "warm"]
    metrics: Exposure
    log: AccessLog
    traces: str | None = None
    failures: str | None = None
    events: tuple[str, ...] = ()


class MemoryLine(Value):
    """One line of a memory breakdown: what, how much on each GPU, and by which formula."""

    what: str
    bytes: int
    source: str


class Memory(Value):
    """What each GPU of a choice holds.

    Attributes:
        gpu: The choice, as Modal writes it.
        engine: Whose reserve is counted.
        context: Tokens of a request it was sized for.
        concurrency: Requests at once it was sized for.
        told: What the engine is told that changes what a GPU holds.
        uncounted: What is declared and has no place in the arithmetic.
        total_bytes: What CUDA reports in total.
        lines: What takes it.
        free_bytes: What is left; negative when it does not fit.
        problem: Why it does not work; empty when it does.
        memory_fraction: The engine's share of a card that would make room; none where it fits, or where
            no share would.
        largest_context: Tokens of a request it could hold at that concurrency.
        largest_concurrency: Requests of that context it could hold.
        tokens_per_s: Estimated answer tokens over all requests, slow and fast end.
        tokens_checked: Whether a measurement stands behind that estimate.
        first_token_s: Estimated seconds to the first token of a prompt of that context, fast and slow end.
        first_token_checked: Whether a measurement stands behind it.
    """

    gpu: str
    engine: str
    context: int
    concurrency: int
    told: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    total_bytes: int
    lines: tuple[MemoryLine, ...]
    free_bytes: int
    problem: str = ""
    memory_fraction: float | None = None
    largest_context: int
    largest_concurrency: int
    tokens_per_s: tuple[float, float]
    tokens_checked: bool = False
    first_token_s: tuple[float, float] | None = None
    first_token_checked: bool = False


class ServiceBlueprint(Value):
    """One service.

    Attributes:
        name: Its class.
        kind: ``"engine"`` or ``"custom"``.
        served_as: Modal's ``"class"`` or ``"server"``.
        model: What the container loads.
        revision: The commit of it.
        gpus: GPU choices in order of preference; empty on CPU.
        memory: What the GPUs of each choice hold; empty where the model's facts are not known.
        unsized: Why they are not.
        passed_over: Where the GPUs were found by ``GPUProfile.fit``: every cheaper choice and why not.
        engine: How the engine is started.
        image: Its image.
        volumes: What is mounted.
        secrets: Which Secrets its container sees.
        variables: Names of its plain environment variables.
        endpoint: Its HTTP endpoint.
        methods: Remote methods.
        observed: What it tells of itself, and whom.
        scaling: Containers and timeouts.
        cold_start: Snapshot, warm-up and budget of its start.
        concurrency: Inputs one container takes at a time.
        resources: CPU, memory, disk, region.
        price: What it costs.
        unpriced_month: Why there is no price of a month under the traffic asked about.
    """

    name: str
    kind: Literal["engine", "custom"]
    served_as: Literal["class", "server"]
    model: str | None
    revision: str | None
    gpus: tuple[str, ...]
    memory: tuple[Memory, ...]
    unsized: str = ""
    passed_over: tuple[str, ...] = ()
    engine: EngineUse | None
    image: ImageUse
    volumes: tuple[VolumeUse, ...]
    secrets: tuple[SecretUse, ...]
    variables: tuple[str, ...]
    endpoint: EndpointUse | None
    methods: tuple[str, ...]
    observed: ObservedUse
    scaling: Scaling
    cold_start: ColdStart
    concurrency: int
    resources: Resources
    price: Quote
    unpriced_month: str = ""


class FunctionBlueprint(Value):
    """A function, class or server of the app that is no service.

    Attributes:
        name: Its name.
        kind: ``"function"``, ``"class"`` or ``"server"``.
        methods: Methods of a class.
        gpus: GPU choices in order of preference.
        resources: CPU, memory, disk, region.
        timeout: Seconds an input may take.
        startup_timeout: Seconds a container may take to load, where it is set.
        concurrency: Inputs at a time.
        retries: Times a failed input is tried again.
        schedule: When Modal starts it by itself.
        volumes: What is mounted.
        secrets: Which Secrets its container sees.
        web: Whether it answers HTTP, and whether anyone may call it.
        cluster: Containers that Modal starts together, all for the same input (``modal.clustered``);
            1 without it. ``None`` only where a plan was written before this was said.
        container: One container by the hour.
        not_shown: What the modal client keeps to itself.
    """

    name: str
    kind: Literal["function", "class", "server"]
    methods: tuple[str, ...]
    gpus: tuple[str, ...]
    resources: ResourceUse
    timeout: int
    startup_timeout: int | None
    concurrency: int
    retries: int
    schedule: str | None
    volumes: tuple[VolumeUse, ...]
    secrets: tuple[SecretUse, ...]
    web: Literal["none", "proxy tokens", "anyone"]
    cluster: int | None = None
    container: ContainerPrice
    not_shown: tuple[str, ...]

    @property
    def usd_per_hour(self) -> float:
        """A container of the first choice; of a cluster, all of its containers."""
        return self.container.total * (self.cluster or 1)


class AppBlueprint(Value):
    """One Modal app."""

    name: str
    services: tuple[ServiceBlueprint, ...]
    functions: tuple[FunctionBlueprint, ...]
    entrypoints: tuple[str, ...]


class Blueprint(Value):
    """Everything a file will create.

    Attributes:
        schema_version: Of this document.
        modalkit: The version that wrote it.
        file: The file.
        apps: Its apps.
        prices: Where prices are from, and when they were read.
        warnings: What a reader should know.
    """

    schema_version: Literal[1] = 1
    modalkit: str
    file: str
    apps: tuple[AppBlueprint, ...]
    prices: str
    warnings: tuple[str, ...] = Field(default=())

    @property
    def services(self) -> tuple[ServiceBlueprint, ...]:
        """Every service of every app."""
        return tuple(service for app in self.apps for service in app.services)
