"""Images: declare them, follow their builds, publish them under a name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from grpclib.const import Status

from ..images import Build, Built, Images
from ..images.built import HOST_SERIES
from ..protocol import Empty, api, builder_version, refuse
from ..store.records import Records
from ..wire.grpc_server import Caller, rpc, stream_rpc

__all__ = ["ImageRpcs"]

_NAME = "image name"


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
        if not self._images.known(request.image_id):
            refuse(Status.NOT_FOUND, f"There is no image {request.image_id!r} in this local Modal.")
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
            text = self._images.log_text(image_id)
            yield api.ImageJoinStreamingResponse(task_logs=[api.TaskLogs(data=text)])
        yield await self._outcome(image_id, build)

    @rpc("ImagePublish")
    async def publish(
        self, request: api.ImagePublishRequest, _caller: Caller
    ) -> api.ImagePublishResponse:
        """Give an image a name."""
        identity = f"{_NAME} {request.tag}"
        self._records.put(_NAME, "", request.tag, identity, request.image_id.encode())
        return api.ImagePublishResponse(image_id=request.image_id)

    @rpc("ImageGetByTag")
    async def by_tag(
        self, request: api.ImageGetByTagRequest, _caller: Caller
    ) -> api.ImageGetByTagResponse:
        """Look an image up by the name it was published under."""
        record = self._records.by_name(_NAME, "", request.tag)
        if record is None:
            refuse(
                Status.NOT_FOUND,
                f"No image is published as {request.tag!r} in this local Modal. Publish it with "
                "image.publish(NAME).",
            )
        return api.ImageGetByTagResponse(image_id=record.body.decode())

    @rpc("ImageNameDelete")
    async def delete_name(self, request: api.ImageNameDeleteRequest, _caller: Caller) -> Empty:
        """Take a name away from its image."""
        self._records.delete(f"{_NAME} {request.tag}")
        return Empty()

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
