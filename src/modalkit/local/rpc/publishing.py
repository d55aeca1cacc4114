"""What makes a version of an app: publishing, rolling back, promoting, renewing its containers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from grpclib.const import Status

from ..apps.apps import App
from ..apps.deployments import Deployments, Layout
from ..apps.versions import Version
from ..protocol import MODAL_VERSION, api, refuse
from ..wire.grpc_server import Caller, rpc

__all__ = ["PublishingRpcs"]


class PublishingRpcs:
    """Versions of apps.

    Args:
        page: Returns where the client says a deployment can be viewed.
        published: Told when the deployed apps have changed.
    """

    def __init__(
        self, deployments: Deployments, page: Callable[[], str], published: Callable[[], None]
    ) -> None:
        self._deployments = deployments
        self._page = page
        self._published = published

    @rpc("AppPublish")
    async def publish(
        self, request: api.AppPublishRequest, _caller: Caller
    ) -> api.AppPublishResponse:
        """Make an app's functions callable; what is no longer in it ends."""
        app = await self._find(request.app_id)
        layout = self._layout(app, request)
        classes, now = dict(request.class_ids), time.time()
        if request.app_state != api.APP_STATE_DEPLOYED:
            app.state = request.app_state or app.state
            app.deployed_at, app.version = now, app.version + 1
            await self._deployments.install(app, layout, classes)
            self._published()
            return api.AppPublishResponse(url=self._page(), deployed_at=now)
        version = Version(
            number=self._deployments.next_number(app),
            deployed_at=now,
            definitions=_as_bytes(layout),
            classes=classes,
            client_version=request.client_version or MODAL_VERSION,
            tag=request.deployment_tag,
            commit=request.commit_info.SerializeToString(),
            staged=request.staged,
            tags=dict(request.tags),
            kind=(api.DEPLOYMENT_TYPE_STAGED if request.staged else api.DEPLOYMENT_TYPE_STANDARD),
        )
        if request.staged:
            self._stage(app, version)
        else:
            await self._deployments.deploy(app, request.name or app.name, version)
            self._published()
        return api.AppPublishResponse(url=self._page(), deployed_at=now)

    @rpc("AppDeploymentHistory")
    async def history(
        self, request: api.AppDeploymentHistoryRequest, _caller: Caller
    ) -> api.AppDeploymentHistoryResponse:
        """List an app's versions, newest first."""
        app = await self._find(request.app_id)
        versions = reversed(self._deployments.versions(app))
        return api.AppDeploymentHistoryResponse(
            app_deployment_histories=[one.history(app.id, app.version) for one in versions],
            production_app_version=app.version,
        )

    @rpc("AppRollback")
    async def roll_back(
        self, request: api.AppRollbackRequest, _caller: Caller
    ) -> api.AppRollbackResponse:
        """Deploy an earlier version again, as a new one; -1 is the one before."""
        app = await self._find(request.app_id)
        now = await self._again(app, request.version, api.DEPLOYMENT_TYPE_ROLLBACK)
        return api.AppRollbackResponse(url=self._page(), deployed_at=now)

    @rpc("AppPromote")
    async def promote(
        self, request: api.AppPromoteRequest, _caller: Caller
    ) -> api.AppPromoteResponse:
        """Deploy a version that was put aside with ``--staged``."""
        app = await self._find(request.app_id)
        now = await self._again(app, request.version, api.DEPLOYMENT_TYPE_PROMOTION)
        return api.AppPromoteResponse(url=self._page(), deployed_at=now)

    @rpc("AppRollover")
    async def roll_over(
        self, request: api.AppRolloverRequest, _caller: Caller
    ) -> api.AppRolloverResponse:
        """Replace an app's containers by new ones of the same version."""
        app = await self._find(request.app_id)
        now = await self._again(app, app.version, api.DEPLOYMENT_TYPE_ROLLOVER)
        for pool in app.pools:
            pool.retire_all()
            pool.adjust()
        return api.AppRolloverResponse(url=self._page(), deployed_at=now)

    def _layout(self, app: App, request: api.AppPublishRequest) -> Layout:
        """Return the published functions, each with the definition sent for it last."""
        layout: Layout = {}
        for tag, function_id in request.function_ids.items():
            draft = app.drafts.pop(function_id, None)
            known = self._deployments.functions.find(function_id).definition
            layout[tag] = (function_id, draft if draft is not None else known)
        return layout

    def _stage(self, app: App, version: Version) -> None:
        if not app.version:
            refuse(
                Status.FAILED_PRECONDITION,
                f"App {app.name!r} has no version yet that could go on running. "
                "Deploy it once without --staged.",
            )
        self._deployments.save(app, version)

    async def _again(self, app: App, number: int, kind: api.DeploymentType.ValueType) -> float:
        if app.state != api.APP_STATE_DEPLOYED:
            refuse(Status.FAILED_PRECONDITION, f"App {app.label!r} is not deployed.")
        earlier = self._deployments.version(app, number)
        now = time.time()
        fresh = replace(
            earlier,
            number=self._deployments.next_number(app),
            deployed_at=now,
            restores=earlier.number,
            kind=kind,
            staged=False,
        )
        await self._deployments.deploy(app, app.name, fresh)
        self._published()
        return now

    async def _find(self, app_id: str) -> App:
        app = await self._deployments.find_by_id(app_id)
        if app is None:
            refuse(Status.NOT_FOUND, f"There is no app {app_id!r} in this local Modal.")
        return app


def _as_bytes(layout: Layout) -> dict[str, tuple[str, bytes]]:
    return {
        tag: (function_id, definition.SerializeToString())
        for tag, (function_id, definition) in layout.items()
    }
