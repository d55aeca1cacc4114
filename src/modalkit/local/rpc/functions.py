"""Function* and Class* RPCs that declare and look up; calling is in `calls`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from grpclib.const import Status

from ..apps.apps import App, Apps
from ..apps.deployments import Deployments
from ..apps.functions import FunctionEntry, Functions, Release
from ..apps.timetable import timetable_of
from ..containers.inputs import InputPool
from ..ids import content_id, new_id
from ..protocol import api, fitting, refuse, version_asked_for
from ..wire.grpc_server import Caller, rpc

__all__ = ["FunctionRpcs"]


class FunctionRpcs:
    """Functions, classes and their variants.

    Args:
        deployments: Finds the app deployed under a name in an environment.
        open_endpoints: Opens the ports that a function needs with a definition.
    """

    def __init__(
        self,
        apps: Apps,
        functions: Functions,
        deployments: Deployments,
        open_endpoints: Callable[[FunctionEntry, api.Function], Awaitable[None]],
    ) -> None:
        self._apps = apps
        self._functions = functions
        self._deployments = deployments
        self._open_endpoints = open_endpoints

    @rpc("FunctionPrecreate")
    async def precreate(
        self, request: api.FunctionPrecreateRequest, _caller: Caller
    ) -> api.FunctionPrecreateResponse:
        """Give a function its id and URL before its definition is complete."""
        definition = api.Function(
            function_name=request.function_name,
            function_type=request.function_type,
            webhook_config=request.webhook_config,
            method_definitions=request.method_definitions,
            function_schema=request.function_schema,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
        )
        function = self._functions.get(request.existing_function_id)
        if function is None:
            function = self._add(request.app_id, definition)
        await self._open_endpoints(function, definition)
        drafted = function.drafted(definition)
        return api.FunctionPrecreateResponse(
            function_id=function.id, handle_metadata=drafted.handle()
        )

    @rpc("FunctionCreate")
    async def create(
        self, request: api.FunctionCreateRequest, _caller: Caller
    ) -> api.FunctionCreateResponse:
        """Take a function's definition."""
        ranked = request.function_data.ranked_functions
        definition = ranked[0].function if ranked else request.function
        _check(definition)
        function = self._functions.get(request.existing_function_id)
        if function is None:
            function = self._add(request.app_id, definition)
        app = function.app
        if app.version:
            app.drafts[function.id] = definition
        else:  # nobody uses the app yet, but the building of its images may call functions
            function.redefine(definition)
            app.functions[definition.function_name] = function
        await self._open_endpoints(function, definition)
        drafted = function.drafted(definition)
        return fitting(
            api.FunctionCreateResponse,
            function_id=function.id,
            function=drafted.described(),
            function_data=drafted.data(),
            handle_metadata=drafted.handle(),
        )

    @rpc("FunctionGet")
    async def get(
        self, request: api.FunctionGetRequest, _caller: Caller
    ) -> api.FunctionGetResponse:
        """Look a deployed function up by name."""
        app = await self._deployed(request.app_name, request.environment_name)
        functions = self._wanted(app, version_asked_for(request)).functions
        function = functions.get(request.object_tag)
        if function is None:
            names = ", ".join(sorted(entry.name for entry in functions.values()))
            refuse(
                Status.NOT_FOUND,
                f"App {app.name!r} has no {request.object_tag.removesuffix('.*')!r}; it has: {names}.",
            )
        return fitting(
            api.FunctionGetResponse,
            function_id=function.id,
            handle_metadata=function.handle(),
            function=function.data(),
        )

    @rpc("FunctionGetById")
    async def get_by_id(
        self, request: api.FunctionGetByIdRequest, _caller: Caller
    ) -> api.FunctionGetByIdResponse:
        """Describe a function."""
        function = self._functions.find(request.function_id)
        return api.FunctionGetByIdResponse(
            function=function.data(), handle_metadata=function.handle()
        )

    @rpc("FunctionBindParams")
    async def bind(
        self, request: api.FunctionBindParamsRequest, _caller: Caller
    ) -> api.FunctionBindParamsResponse:
        """Make a variant: class parameters, or options laid over the definition."""
        variant = self._functions.find(request.function_id).variant(request)
        self._functions.add_variant(variant)
        variant.any_pool.adjust()
        return api.FunctionBindParamsResponse(
            bound_function_id=variant.id, handle_metadata=variant.handle()
        )

    @rpc("FunctionListVariants")
    async def variants(
        self, request: api.FunctionListVariantsRequest, _caller: Caller
    ) -> api.FunctionListVariantsResponse:
        """List a function's variants, the newest first; with a limit, the busiest first."""
        found = list(self._functions.find(request.function_id).variants.values())[::-1]
        if request.limit:
            found.sort(key=lambda one: -sum(len(pool.containers) for pool in one.pools))
        response = api.FunctionListVariantsResponse(ordered_by_task_count=bool(request.limit))
        for variant in found[: request.limit or None]:
            response.infos.add(
                function_id=variant.id,
                serialized_params=variant.params,
                function_options=variant.options,
            )
        return response

    @rpc("ClassCreate")
    async def create_class(
        self, request: api.ClassCreateRequest, _caller: Caller
    ) -> api.ClassCreateResponse:
        """Give a class its id; its methods are in its service function."""
        class_id = request.existing_class_id or new_id("cs")
        return api.ClassCreateResponse(class_id=class_id, handle_metadata=api.ClassHandleMetadata())

    @rpc("ClassGet")
    async def get_class(
        self, request: api.ClassGetRequest, _caller: Caller
    ) -> api.ClassGetResponse:
        """Look a deployed class up by name."""
        app = await self._deployed(request.app_name, request.environment_name)
        classes = self._wanted(app, version_asked_for(request)).classes
        class_id = classes.get(request.object_tag)
        if class_id is None:
            names = ", ".join(sorted(classes)) or "none"
            refuse(
                Status.NOT_FOUND,
                f"App {app.name!r} has no class {request.object_tag!r}; its classes: {names}.",
            )
        return api.ClassGetResponse(class_id=class_id, handle_metadata=api.ClassHandleMetadata())

    @rpc("FunctionGetCurrentStats")
    async def stats(
        self, request: api.FunctionGetCurrentStatsRequest, _caller: Caller
    ) -> api.FunctionStats:
        """Count a function's inputs and containers."""
        pool = self._functions.find(request.function_id).any_pool
        return api.FunctionStats(
            backlog=pool.backlog if isinstance(pool, InputPool) else 0,
            num_total_tasks=len(pool.containers),
            num_running_inputs=sum(container.load for container in pool.containers),
        )

    @rpc("FunctionGetSchedulingParams")
    async def scheduling(
        self, request: api.FunctionGetSchedulingParamsRequest, _caller: Caller
    ) -> api.FunctionGetSchedulingParamsResponse:
        """Return a function's autoscaler settings."""
        response = api.FunctionGetSchedulingParamsResponse()
        settings = self._settings(self._functions.find(request.function_id))
        response.autoscaler_configuration.settings.CopyFrom(settings)
        return response

    @rpc("FunctionUpdateSchedulingParams")
    async def update_scheduling(
        self, request: api.FunctionUpdateSchedulingParamsRequest, _caller: Caller
    ) -> api.FunctionUpdateSchedulingParamsResponse:
        """Override a function's autoscaler settings until it is deployed again."""
        function = self._functions.find(request.function_id)
        function.any_pool.rescale(request.settings)
        return api.FunctionUpdateSchedulingParamsResponse(current_settings=self._settings(function))

    @staticmethod
    def _settings(function: FunctionEntry) -> api.AutoscalerSettings:
        settings = api.AutoscalerSettings()
        settings.CopyFrom(function.definition.autoscaler_settings)
        settings.MergeFrom(function.any_pool.settings)
        return settings

    def _add(self, app_id: str, definition: api.Function) -> FunctionEntry:
        app = self._apps.get(app_id)
        if app is None:
            refuse(Status.NOT_FOUND, f"There is no app {app_id!r} in this local Modal.")
        function_id = content_id("fu", f"{app_id}/{definition.function_name}".encode())
        return self._functions.add(app, definition, function_id)

    def _wanted(self, app: App, version: int) -> App | Release:
        """Return what follows an app's deployments, or the version that was asked for by number."""
        return self._deployments.release(app, version) if version else app

    async def _deployed(self, name: str, environment: str) -> App:
        app = await self._deployments.find(name, environment or "main")
        if app is None:
            refuse(
                Status.NOT_FOUND,
                f"No app {name!r} is deployed in this local Modal. "
                "Run `modal deploy FILE` against it first.",
            )
        return app


def _check(definition: api.Function) -> None:
    """Refuse what cannot work here, before anything is deployed."""
    name = definition.function_name
    try:
        timetable_of(definition.schedule, datetime.now(UTC))
    except ValueError as error:
        refuse(Status.INVALID_ARGUMENT, f"The schedule of {name!r} cannot work. {error}")
    if definition._experimental_group_size > 1:  # noqa: SLF001 - a protobuf field of that name
        refuse(
            Status.UNIMPLEMENTED,
            f"{name!r} is a clustered function, which wants several machines with a network between "
            "them. There is one machine here: leave clustered out, or run it on Modal.",
        )
    if definition.pty_info.enabled:
        refuse(
            Status.INVALID_ARGUMENT,
            "The local Modal cannot attach your terminal to a container (modal run -i). Leave -i "
            "out; to look into a function, call it in this process with .local() and a debugger.",
        )
