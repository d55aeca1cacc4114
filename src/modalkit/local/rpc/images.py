"""Images: declare them, follow their builds, publish them under a name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]  # protobuf ships no type information
from grpclib.const import Status

from ..images import Build, Built, Images
from ..images.built import HOST_SERIES
from ..protocol import Empty, api, builder_version, refuse
from ..store.environments import DEFAULT_ENVIRONMENT
from ..store.records import Records
from ..wire.grpc_server import Caller, rpc, stream_rpc

__all__ = ["ImageRpcs"]

_NAME = "image name"


@dataclass(frozen=True, slots=True)
class _Name:
    """The name of an image in an environment, such as ``web:latest`` in ``main``."""

    environment: str
    tag: str

    @classmethod
    def of(cls, written: str, environment: str = DEFAULT_ENVIRONMENT) -> _Name:
        """Read a name that may begin with its environment."""
        prefix, _, tag = written.rpartition("/")
        return cls(prefix or environment, tag)

    @property
    def identity(self) -> str:
        return f"{_NAME} {self.environment}/{self.tag}"


class ImageRpcs:
    """Declares images and builds them while their client waits."""

    def __init__(self, images: Images, records: Records) -> None:
        self._images = images
        self._records = records

    @rpc("ImageGetOrCreate")
    async def get_or_create(
        self, request: api.ImageGetOrCreateRequest, _caller: Caller
    ) -> api.ImageGetOrCreateResponse:
        """Record an image; one that is not built yet is being built when this answers."""
        force = request.force_build or request.ignore_cache
        image_id = self._images.add(request.image, request.build_function_id, force=force)
        built = self._images.ready(image_id)
        recipe = self._images.recipe(image_id)
        if built is None and not recipe.steps and recipe.python in {"", HOST_SERIES}:
            built = await self._images.built(image_id)
        if built is None:
            self._images.start(image_id)
            return api.ImageGetOrCreateResponse(image_id=image_id)
        metadata = self._metadata(image_id, built)
        return api.ImageGetOrCreateResponse(image_id=image_id, result=_SUCCESS, metadata=metadata)

    @rpc("ImageFromId")
    async def from_id(
        self, request: api.ImageFromIdRequest, _caller: Caller
    ) -> api.ImageFromIdResponse:
        """Describe an image."""
        self._refuse_unknown(request.image_id)
        built = await self._images.built(request.image_id)
        metadata = self._metadata(request.image_id, built)
        return api.ImageFromIdResponse(image_id=request.image_id, metadata=metadata)

    @stream_rpc("ImageJoinStreaming")
    async def join(
        self, request: api.ImageJoinStreamingRequest, _caller: Caller
    ) -> AsyncGenerator[api.ImageJoinStreamingResponse, None]:
        """Follow a build: its lines as they come, then how it ended."""
        image_id = request.image_id
        build = self._images.builds.latest(image_id)
        if build is not None:  # a client asks only for one that was not ready
            seen = int(request.last_entry_id or 0)
            async with aclosing(build.log.follow(seen)) as lines:
                async for number, new in lines:
                    yield api.ImageJoinStreamingResponse(entry_id=str(number), task_logs=new)
        elif request.include_logs_for_finished:
            yield api.ImageJoinStreamingResponse(task_logs=self._images.log_lines(image_id))
        yield await self._outcome(image_id, build)

    @rpc("ImageBuildChainGet")
    async def chain(
        self, request: api.ImageBuildChainGetRequest, _caller: Caller
    ) -> api.ImageBuildChainGetResponse:
        """Say which of an image's layers have a log, lowest first; a client then fetches those.

        Modal builds a layer in a container of some app, whose log that is. Here a layer's log has
        the image's own id, which `LogRpcs` knows.
        """
        self._refuse_unknown(request.image_id)
        response = api.ImageBuildChainGetResponse()
        for image_id in self._images.chain(request.image_id):
            if lines := self._images.log_lines(image_id):
                response.build_steps.add(
                    image_id=image_id,
                    builder_app_id=image_id,
                    started_at=Timestamp(seconds=int(lines[0].timestamp)),
                    finished_at=Timestamp(seconds=int(lines[-1].timestamp) + 1),
                )
        return response

    @rpc("ImagePublish")
    async def publish(
        self, request: api.ImagePublishRequest, _caller: Caller
    ) -> api.ImagePublishResponse:
        """Give an image a name."""
        name = _Name.of(request.tag, request.environment_name)
        body = request.image_id.encode()
        self._records.put(_NAME, name.environment, name.tag, name.identity, body)
        return api.ImagePublishResponse(image_id=request.image_id)

    @rpc("ImageGetByTag")
    async def by_tag(
        self, request: api.ImageGetByTagRequest, _caller: Caller
    ) -> api.ImageGetByTagResponse:
        """Look an image up by the name it was published under."""
        name = _Name.of(request.tag, request.environment_name)
        record = self._records.by_name(_NAME, name.environment, name.tag)
        if record is None:
            refuse(
                Status.NOT_FOUND,
                f"No image is published as {request.tag!r} in this local Modal. Publish it with "
                "image.publish(NAME).",
            )
        return api.ImageGetByTagResponse(image_id=record.body.decode())

    @rpc("ImageListTags")
    async def tags(
        self, request: api.ImageListTagsRequest, _caller: Caller
    ) -> api.ImageListTagsResponse:
        """List the names that images of an environment were published under."""
        environment = request.environment_name
        response = api.ImageListTagsResponse(environment_name=environment)
        for record in self._records.list_all(_NAME, environment):
            if record.name.startswith(request.tag_prefix):
                response.items.add(
                    tag=record.name,
                    image_id=record.body.decode(),
                    created_at=record.created_at,
                    updated_at=record.created_at,
                )
        return response

    @rpc("ImageDelete")
    async def delete(self, request: api.ImageDeleteRequest, _caller: Caller) -> Empty:
        """Remove a snapshot; any other image would only be built again."""
        self._refuse_unknown(request.image_id)
        if not self._images.is_snapshot(request.image_id):
            refuse(
                Status.FAILED_PRECONDITION,
                f"The image {request.image_id!r} is no snapshot, and would be built again. "
                "`modalkit local prune` removes the images that nothing uses.",
            )
        await self._images.remove_snapshot(request.image_id)
        return Empty()

    @rpc("ImageNameDelete")
    async def delete_name(self, request: api.ImageNameDeleteRequest, _caller: Caller) -> Empty:
        """Take a name away from its image."""
        self._records.delete(_Name.of(request.tag).identity)
        return Empty()

    def _refuse_unknown(self, image_id: str) -> None:
        if not self._images.known(image_id):
            refuse(Status.NOT_FOUND, f"There is no image {image_id!r} in this local Modal.")

    async def _outcome(self, image_id: str, build: Build | None) -> api.ImageJoinStreamingResponse:
        if build is not None and build.error:
            failure = api.GenericResult(
                status=api.GenericResult.GENERIC_STATUS_FAILURE, exception=build.error
            )
            return api.ImageJoinStreamingResponse(result=failure, eof=True)
        metadata = self._metadata(image_id, await self._images.built(image_id))
        return api.ImageJoinStreamingResponse(result=_SUCCESS, metadata=metadata, eof=True)

    def _metadata(self, image_id: str, built: Built) -> api.ImageMetadata:
        return api.ImageMetadata(
            python_version_info=f"Python {built.version}",
            workdir=self._images.recipe(image_id).workdir,
            image_builder_version=builder_version(),
        )


_SUCCESS = api.GenericResult(status=api.GenericResult.GENERIC_STATUS_SUCCESS)
