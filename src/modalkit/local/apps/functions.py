"""Functions as the plane keeps them: definition, variants, endpoints and what the client is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from grpclib.const import Status

from ..containers.inputs import InputPool
from ..ids import content_id
from ..protocol import api, fitting, refuse, serves_http
from .params import canonical

if TYPE_CHECKING:
    from ..containers.servers import ServerPool
    from .apps import App

__all__ = ["Endpoint", "FunctionEntry", "Functions", "Release", "app_layout", "merge_options"]

_DEFAULT_STARTUP_TIMEOUT_S = 300
# Options that are autoscaler settings under another name.
_AUTOSCALER_SETTINGS = {
    "concurrency_limit": "max_containers",
    "warm_pool_size": "min_containers",
    "buffer_containers": "buffer_containers",
    "task_idle_timeout_secs": "scaledown_window",
}


class Endpoint(Protocol):
    """A port on this machine that leads to a function."""

    @property
    def url(self) -> str:
        """Where it answers."""

    async def close(self) -> None:
        """Stop listening."""


@dataclass(frozen=True, slots=True)
class Release:
    """An app as one of its versions has it, kept for those who asked for it by its number."""

    functions: dict[str, FunctionEntry]
    classes: dict[str, str]


@dataclass(eq=False)
class FunctionEntry:
    """One function, or all methods of one class, or one server.

    Attributes:
        tag: Its name in the app, such as ``Chat.*``.
        definition: What the client declared; empty until it is created.
        params: Serialised class parameters, for a variant.
        options: What a variant lays over its base's definition.
        release: The version it belongs to, if it does not follow its app's deployments.
        endpoints: By method name; a function's own is under ``""``.
    """

    app: App
    tag: str
    id: str
    definition: api.Function
    make_pool: Callable[[FunctionEntry], InputPool | ServerPool]
    params: bytes = b""
    base: FunctionEntry | None = None
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    variants: dict[str, FunctionEntry] = field(default_factory=dict)
    options: api.FunctionOptions = field(default_factory=api.FunctionOptions)
    release: Release | None = None
    _pool: InputPool | ServerPool | None = None
    _former: list[InputPool | ServerPool] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.tag.removesuffix(".*")

    @property
    def serves_port(self) -> bool:
        """Whether its code listens on a port of its own choice."""
        webhooks = [self.definition.webhook_config]
        webhooks += [
            method.webhook_config for method in self.definition.method_definitions.values()
        ]
        web_server = any(hook.type == api.WEBHOOK_TYPE_WEB_SERVER for hook in webhooks)
        return serves_http(self.definition) or web_server

    @property
    def parameters(self) -> list[api.ClassParameterSpec]:
        """The parameters its class declares with `modal.parameter`."""
        info = self.definition.class_parameter_info
        return [*info.schema]

    def yields(self, method: str) -> bool:
        """Whether a method (or, with no name, the function itself) is a generator."""
        methods = self.definition.method_definitions
        kind = methods[method].function_type if method in methods else self.definition.function_type
        return kind == api.Function.FUNCTION_TYPE_GENERATOR

    @property
    def own_network(self) -> bool:
        """Whether its containers get a network of their own."""
        return self.serves_port or self.definition.block_network

    @property
    def startup_timeout_s(self) -> float:
        """How long a container may take to get ready."""
        chosen = self.definition.startup_timeout_secs or self.definition.timeout_secs
        return chosen or _DEFAULT_STARTUP_TIMEOUT_S

    @property
    def any_pool(self) -> InputPool | ServerPool:
        """Its containers."""
        if self._pool is None:
            self._pool = self.make_pool(self)
        return self._pool

    @property
    def pool(self) -> InputPool:
        """Its containers and input queue; a server has no inputs."""
        if not isinstance(self.any_pool, InputPool):
            msg = f"{self.name!r} is a server: it takes HTTP requests, not calls."
            raise TypeError(msg)
        return self.any_pool

    @property
    def pools(self) -> list[InputPool | ServerPool]:
        """The pools that were used so far, its variants' included."""
        own = [self._pool] if self._pool is not None else []
        own += [pool for pool in self._former if pool.containers]
        return own + [pool for variant in self.variants.values() for pool in variant.pools]

    def redefine(self, definition: api.Function) -> None:
        """Take a new definition; containers of the old one finish what they do.

        Its variants follow, and what `update_autoscaler` changed is forgotten. A function that takes
        calls and a server are of two kinds: what becomes the other gets a new pool.
        """
        if definition == self.definition:
            return
        same_kind = serves_http(definition) == serves_http(self.definition)
        self.definition = definition
        if self._pool is not None and same_kind:
            self._pool.settings.Clear()
            self._pool.retire_all()
        elif self._pool is not None:
            self._pool.wind_down()
            self._former = [pool for pool in [self._pool, *self._former] if pool.containers]
            self._pool = None
        for variant in self.variants.values():
            variant.redefine(self._with_options(variant.options))

    def drafted(self, definition: api.Function) -> FunctionEntry:
        """Return this function as it will be with another definition, to describe it."""
        return replace(self, definition=definition)

    def variant(self, request: api.FunctionBindParamsRequest) -> FunctionEntry:
        """Return the variant with these class parameters and options; the same for the same request."""
        params = request.serialized_params
        if self.parameters:
            params = canonical(params)
        key = hashlib.sha256(
            params + b"|" + request.function_options.SerializeToString(deterministic=True)
        ).hexdigest()
        if key not in self.variants:
            self.variants[key] = FunctionEntry(
                app=self.app,
                tag=self.tag,
                id=content_id("fu", f"{self.id}{key}".encode()),
                definition=self._with_options(request.function_options),
                make_pool=self.make_pool,
                params=params,
                base=self,
                endpoints=self.endpoints,
                options=request.function_options,
                release=self.release,
            )
        return self.variants[key]

    def _with_options(self, options: api.FunctionOptions) -> api.Function:
        definition = api.Function()
        definition.CopyFrom(self.definition)
        merge_options(definition, options)
        return definition

    async def close_endpoints(self) -> None:
        """Stop listening for web requests."""
        for endpoint in self.endpoints.values():
            await endpoint.close()

    def handle(self) -> api.FunctionHandleMetadata:
        """Describe it to the client."""
        definition = self.definition
        own = self.endpoints.get("")
        handle = fitting(
            api.FunctionHandleMetadata,
            app_id=self.app.id,
            function_name=definition.function_name or self.tag,
            function_type=definition.function_type,
            is_method=definition.is_method,
            class_parameter_info=definition.class_parameter_info,
            function_schema=definition.function_schema,
            definition_id=content_id("de", self.id.encode()),
            supported_input_formats=definition.supported_input_formats,
            supported_output_formats=definition.supported_output_formats,
            base_function_id=self.base.id if self.base else "",
        )
        if own is not None and serves_http(definition):
            handle._experimental_flash_urls.append(own.url)  # noqa: SLF001 - a protobuf field of that name
        elif own is not None:
            handle.web_url = own.url
        for name, method in definition.method_definitions.items():
            handle.method_handle_metadata[name].CopyFrom(self._method_handle(name, method))
        return handle

    def _method_handle(self, name: str, method: api.MethodDefinition) -> api.FunctionHandleMetadata:
        endpoint = self.endpoints.get(name)
        return api.FunctionHandleMetadata(
            app_id=self.app.id,
            function_name=method.function_name,
            function_type=method.function_type,
            is_method=True,
            use_method_name=name,
            web_url=endpoint.url if endpoint else "",
            function_schema=method.function_schema,
            supported_input_formats=method.supported_input_formats,
            supported_output_formats=method.supported_output_formats,
        )

    def described(self) -> api.Function:
        """Return the definition with this machine's URLs in it."""
        described = api.Function()
        described.CopyFrom(self.definition)
        own = self.endpoints.get("")
        if own is not None and serves_http(described):
            described.flash_service_urls.append(own.url)
        elif own is not None:
            described.web_url = own.url
        for name, method in described.method_definitions.items():
            if (endpoint := self.endpoints.get(name)) is not None:
                method.web_url = endpoint.url
        return described

    def data(self) -> api.FunctionData:
        """Return the definition in the protocol's other form, which `Function.info()` reads."""
        described = self.described()
        data = api.FunctionData()
        for known in api.FunctionData.DESCRIPTOR.fields:
            name = known.name
            if name not in api.Function.DESCRIPTOR.fields_by_name:
                continue
            if known.is_repeated:
                _copy_repeated(described, data, name)
            elif known.message_type is not None:
                if described.HasField(name):
                    getattr(data, name).CopyFrom(getattr(described, name))
            elif not known.has_presence or described.HasField(name):
                setattr(data, name, getattr(described, name))
        data.ranked_functions.add(rank=0, function=described)
        return data

    def container_arguments(self, task_id: str) -> api.ContainerArguments:
        """Return what Modal's entrypoint is told when a container of this function starts."""
        return api.ContainerArguments(
            task_id=task_id,
            function_id=self.id,
            app_id=self.app.id,
            function_def=self.definition,
            serialized_params=self.params,
            environment_name=self.app.environment,
            app_layout=app_layout(self.release or self.app, self),
        )


class Functions:
    """Every function of this plane by its id, variants included.

    Args:
        make_pool: Makes the pool of a function.
    """

    def __init__(self, make_pool: Callable[[FunctionEntry], InputPool | ServerPool]) -> None:
        self._make_pool = make_pool
        self._functions: dict[str, FunctionEntry] = {}

    def add(self, app: App, definition: api.Function, function_id: str) -> FunctionEntry:
        """Remember a new function."""
        function = FunctionEntry(
            app, definition.function_name, function_id, definition, self._make_pool
        )
        self._functions[function_id] = function
        return function

    def add_variant(self, variant: FunctionEntry) -> None:
        """Remember a variant of a known function."""
        self._functions[variant.id] = variant

    def forget(self, app: App) -> None:
        """Drop the functions of an app that is over."""
        gone = [known for known, function in self._functions.items() if function.app is app]
        for function_id in gone:
            del self._functions[function_id]

    def get(self, function_id: str) -> FunctionEntry | None:
        """Return a function by its id, if there is one."""
        return self._functions.get(function_id)

    def find(self, function_id: str) -> FunctionEntry:
        """Return a function by its id, or refuse the request."""
        function = self._functions.get(function_id)
        if function is None:
            refuse(Status.NOT_FOUND, f"There is no function {function_id!r} in this local Modal.")
        return function


def app_layout(app: App | Release, only: FunctionEntry | None = None) -> api.AppLayout:
    """List an app's functions and classes, and what the given function depends on."""
    layout = api.AppLayout()
    for tag, function in app.functions.items():
        layout.function_ids[tag] = function.id
        layout.objects.add(object_id=function.id, function_handle_metadata=function.handle())
    for tag, class_id in app.classes.items():
        layout.class_ids[tag] = class_id
        layout.objects.add(object_id=class_id, class_handle_metadata=api.ClassHandleMetadata())
    known = {entry.object_id for entry in layout.objects}
    for dependency in only.definition.object_dependencies if only else ():
        if dependency.object_id not in known:
            known.add(dependency.object_id)
            layout.objects.append(dependency_of(dependency.object_id))
    return layout


def dependency_of(object_id: str) -> api.Object:
    """Describe something a function depends on."""
    described = api.Object(object_id=object_id)
    if object_id.startswith("vo-"):
        described.volume_metadata.CopyFrom(api.VolumeMetadata())
    return described


def merge_options(definition: api.Function, options: api.FunctionOptions) -> None:
    """Lay `with_options`, `with_concurrency` and `with_batching` over a definition."""
    for name in ("secret_ids", "volume_mounts", "cloud_bucket_mounts"):
        if getattr(options, f"replace_{name}"):
            definition.ClearField(name)
    for known, value in options.ListFields():
        name = known.name
        if name in _AUTOSCALER_SETTINGS:
            setattr(definition.autoscaler_settings, _AUTOSCALER_SETTINGS[name], value)
        if name not in api.Function.DESCRIPTOR.fields_by_name:
            continue
        if known.is_repeated:
            getattr(definition, name).extend(value)
        elif known.message_type is not None:
            getattr(definition, name).CopyFrom(value)
        else:
            setattr(definition, name, value)


def _copy_repeated(source: api.Function, target: api.FunctionData, name: str) -> None:
    values = getattr(source, name)
    place = getattr(target, name)
    if hasattr(values, "items"):
        for key, value in values.items():
            if hasattr(value, "CopyFrom"):
                place[key].CopyFrom(value)
            else:
                place[key] = value
    else:
        place.extend(values)
