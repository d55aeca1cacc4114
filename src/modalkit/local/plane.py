"""The local Modal: every part put together, started and stopped."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from aiohttp import web

from .address import Address
from .admin import Admin
from .apps.apps import HEARTBEAT_LIMIT_S, Apps
from .apps.build_functions import BuildFunctions
from .apps.deployments import Deployments
from .apps.functions import FunctionEntry, Functions
from .apps.schedules import Schedules
from .calls.calls import Calls
from .calls.results import CallResults
from .containers.admission import Admission
from .containers.factory import ContainerFactory
from .containers.gpus import Gpus
from .containers.inputs import InputPool
from .containers.lacks import without_namespaces
from .containers.servers import ServerPool
from .containers.worlds import Worlds, host_environment
from .dashboard import Dashboard, Guard, Sources
from .images import HostBuilder, Images, Runner, Surroundings
from .processes.isolation import Isolation
from .processes.launcher import Launcher
from .processes.memory import keep_small
from .processes.probing import probe_once
from .processes.turns import take_turns
from .processes.zygotes import Zygotes
from .protocol import api, serves_http
from .rpc.app_logs import LogRpcs
from .rpc.apps import AppRpcs
from .rpc.blobs import BlobRpcs
from .rpc.calls import CallRpcs
from .rpc.containers import ContainerRpcs
from .rpc.dicts import Dicts
from .rpc.environments import EnvironmentRpcs
from .rpc.functions import FunctionRpcs
from .rpc.images import ImageRpcs
from .rpc.mounts import MountRpcs
from .rpc.network_file_systems import NetworkFileSystemRpcs
from .rpc.publishing import PublishingRpcs
from .rpc.queues import Queues
from .rpc.sandboxes import SandboxRpcs
from .rpc.secrets import SecretRpcs
from .rpc.tasks import TaskRpcs
from .rpc.tunnels import TunnelRpcs
from .rpc.volumes import VolumeRpcs
from .rpc.workspace import WorkspaceRpcs
from .sandboxes.command_router import CommandRouter
from .sandboxes.host import SandboxHost
from .sandboxes.visits import Visits
from .settings import Settings
from .store.places import File, Folder
from .store.state import living_planes
from .store.storage import Storage
from .volumes import Volumes
from .volumes.image_mounts import ImageMounts
from .volumes.network import NetworkFileSystems
from .web.gateways import Gateways
from .wire.grpc_server import RpcServers
from .wire.outgoing_proxy import PROXY_PORT, OutgoingProxy

__all__ = ["LocalModal"]

_STOP_GRACE_S = 5.0
_PAGES_GRACE_S = 1.0
_BLOB_ROUTES = ("/blob/", "/range/", "/block/")


class LocalModal:
    """A local Modal on loopback.

    Args:
        address: Where to answer; its state folder is the plane's.
        notice: Told short sentences for the user; each is said once.
        settings: How to treat what this machine lacks.
        heartbeat_limit_s: After this many seconds without a word from its client a running app
            ends. Modal's client speaks every 15 s.

    Attributes:
        images: Every image, and their builds.
        schedules: What fires by itself.
        admin: What other commands may ask of it.
    """

    def __init__(
        self,
        address: Address,
        notice: Callable[[str], None],
        settings: Settings | None = None,
        *,
        heartbeat_limit_s: float = HEARTBEAT_LIMIT_S,
    ) -> None:
        self._settings = settings or Settings()
        self._said: set[str] = set()
        self._notice = notice
        self.apps = Apps(heartbeat_limit_s)
        self._address = address
        self._storage = Storage(address.state)
        self._trust = address.trust
        self._isolation = self._probe()
        self._volumes = self._make_volumes()
        self._network = NetworkFileSystems(self._storage.state)
        self._calls = Calls(self._call_results(), self._storage.blobs)
        self._gateways = self._make_gateways()
        self._pages = self._make_pages()
        self._proxy = OutgoingProxy()
        self._functions = Functions(self._make_pool)
        self._building = BuildFunctions(self._functions, self._calls)
        self.images = self._make_images()
        self.apps.forgotten = self._functions.forget
        self.apps.has_calls = self._calls.has_work_for
        self._deployments = self._make_deployments()
        self.schedules = Schedules(self.apps, self._calls, self._deployments, notice)
        self.admin = Admin(address.page_token, self.apps, self.schedules, self.endpoints)
        self._dashboard = Dashboard(self._sources(), self._guard())
        self._commands = CommandRouter()
        self._sandboxes = SandboxHost(lambda: self._factory, self._storage.secrets, self._trust)
        self._servers = RpcServers(self._parts(), address.token, self._storage.environments.settle)
        self._factory = self._make_factory()
        self._started_at = time.time()
        self._watches: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen for clients."""
        take_turns()
        await self._pages.setup()
        await web.SockSite(self._pages, self._address.page_listener).start()
        port = self._address.page_listener.getsockname()[1]
        self._storage.blobs.base_url = f"http://127.0.0.1:{port}"
        await self._commands.start()
        self._factory.listen_ports += [port, self._commands.port, PROXY_PORT]
        await self._servers.start(self._address.listener)
        self._watches += map(asyncio.create_task, [self.apps.watch(), keep_small()])

    async def stop(self) -> None:
        """End every app and container, and let go of every port."""
        for watch in self._watches:
            watch.cancel()
        self.schedules.stop()
        await self.images.stop()
        await self._sandboxes.close()
        await asyncio.gather(*(self.apps.stop(app, _STOP_GRACE_S) for app in self.apps.all()))
        await self._factory.finish()
        await self._servers.stop()
        await self._commands.stop()
        await self._pages.cleanup()
        self._storage.state.close()

    async def restore(self) -> None:
        """Bring back what acts by itself of what earlier commands deployed, and let it act.

        Those are apps with web endpoints, schedules or containers that are always kept; any other
        comes back when somebody asks for it.
        """
        await self._deployments.restore_waking()
        self.schedules.start()

    def say(self, text: str) -> None:
        """Tell the user something, unless it was said before."""
        if text not in self._said:
            self._said.add(text)
            self._notice(text)

    def tell_followers(self, text: str) -> bool:
        """Show a line in the output of every `modal run` and `serve`; false when there is none."""
        followed = [app for app in self.apps.all() if app.state == api.APP_STATE_EPHEMERAL]
        for app in followed:
            app.log.remark(text)
        return bool(followed)

    def endpoints(self, *, fresh: bool = False) -> list[tuple[str, str]]:
        """Return the name and URL of every web endpoint of the deployed apps.

        With ``fresh``, only of those deployed since this plane started.
        """
        return [
            (f"{function.name}.{method}" if method else function.name, endpoint.url)
            for app in self.apps.all()
            if app.state == api.APP_STATE_DEPLOYED
            and (app.deployed_at > self._started_at or not fresh)
            for function in app.functions.values()
            for method, endpoint in function.endpoints.items()
        ]

    def _parts(self) -> list[object]:
        blobs = self._storage.blobs
        visits = Visits(self._isolation, self._storage.secrets.values)
        return [
            AppRpcs(self.apps, self._deployments, self._page),
            PublishingRpcs(self._deployments, self._page, self.schedules.changed),
            LogRpcs(self.apps, self._deployments, self.images),
            TaskRpcs(self.apps),
            FunctionRpcs(
                self.apps,
                self._functions,
                self._deployments,
                self._open_endpoints,
            ),
            CallRpcs(self._calls, self._functions),
            ContainerRpcs(),
            TunnelRpcs(self._trust),
            MountRpcs(self._storage.mounts, self._storage.files, blobs.path),
            ImageRpcs(self.images, self._storage.state.records),
            SecretRpcs(self._storage.secrets),
            VolumeRpcs(self._volumes, self._storage.files, blobs.download_url, blobs.upload_url),
            NetworkFileSystemRpcs(self._network, blobs),
            BlobRpcs(blobs),
            Dicts(self._storage.state),
            Queues(self._storage.state),
            SandboxRpcs(self._sandboxes, visits, self.apps, self._commands),
            EnvironmentRpcs(self._storage.environments, self.apps, self._erase_environment),
            WorkspaceRpcs(self._page, self._prepare_container, self.say),
        ]

    def _probe(self) -> Isolation:
        """Find out what this machine allows, unless the user wants none of it."""
        if not self._settings.namespaces:
            return Isolation(namespaces=False)
        found = probe_once(
            self._storage.state.run / "probe", File.NAMESPACES.of(self._storage.state.folder)
        )
        return replace(found, shown=(self._trust.folder,))

    def _make_volumes(self) -> Volumes:
        return Volumes(
            self._storage.state.volumes,
            self._storage.state.buckets,
            self._storage.state.records,
            self._storage.state.run / "volumes",
            layered=self._isolation.namespaces,
        )

    def _make_images(self) -> Images:
        runner = Runner(
            self._storage.state.run, self._isolation, host_environment(), self._volumes.during
        )
        return Images(
            self._storage.state.records,
            self._storage.state.place(Folder.IMAGES),
            HostBuilder(self._storage.files, self._storage.mounts.files, runner),
            Surroundings(
                self._storage.mounts.name, self._storage.secrets.values, self._building.call
            ),
            strict=self._settings.strict_images,
            notice=self.say,
        )

    def _make_gateways(self) -> Gateways:
        auth, blob_path = self._address.proxy_auth, self._storage.blobs.path
        return Gateways(self._calls, auth, blob_path, self._settings, self.say)

    def _make_pages(self) -> web.ServerRunner:
        server = web.Server(self._serve_page, access_log=None, handler_cancellation=True)
        return web.ServerRunner(server, shutdown_timeout=_PAGES_GRACE_S)

    def _make_deployments(self) -> Deployments:
        return Deployments(
            self._storage.state.records,
            self.apps,
            self._functions,
            self._storage.secrets,
            self._open_endpoints,
            self._storage.state.place(Folder.LOGS),
        )

    def _make_factory(self) -> ContainerFactory:
        return ContainerFactory(
            run=self._storage.state.run,
            sockets=self._storage.state.sockets,
            isolation=self._isolation,
            launcher=Launcher(Zygotes(host_environment())),
            admission=Admission(Gpus(), self._settings.strict_gpu, self.say),
            worlds=Worlds(
                self._storage.files,
                self.images,
                self._storage.mounts,
                self._storage.secrets,
                self._volumes,
                self._network,
                ImageMounts(),
                layered=self._isolation.namespaces,
                building=self._building.changes,
            ),
            open_socket=self._servers.open_container_socket,
            serving_inside=self._serve_inside,
            environment={**host_environment(), **self._trust.variables(os.environ)},
            starting=self._introduce,
        )

    async def _erase_environment(self, name: str) -> None:
        """End an environment's apps and remove its files; its records are removed after."""
        for app in [*self.apps.in_environment(name), *self._deployments.dormant(name)]:
            await self.apps.stop(app, _STOP_GRACE_S)
            self._deployments.forget(app)
        for volume in self._volumes.list_all(name):
            await self._volumes.delete(volume.id)
        for system in self._network.list_all(name):
            await self._network.delete(system.id)

    def _call_results(self) -> CallResults:
        """Open the results of spawned calls, this plane's and earlier ones'."""

        def runs_elsewhere(pid: int) -> bool:
            return pid != os.getpid() and pid in living_planes(self._storage.state.folder)

        results = CallResults(self._storage.state.place(Folder.CALLS), runs_elsewhere)
        self._storage.blobs.keep_in(results.blobs)
        return results

    def _sources(self) -> Sources:
        return Sources(
            self._storage.state.folder,
            self.apps,
            self._calls,
            self._deployments,
            self._storage.environments,
            self._storage.state.records,
            self.schedules,
            self._volumes,
            self.images,
            self._address.proxy_auth,
        )

    def _guard(self) -> Guard:
        return Guard(self._address.page_token, self._address.page_listener.getsockname()[1])

    def _prepare_container(self) -> None:
        """Make the first container's start quick, now that there is a client who may want one."""
        self._factory.prepare()

    def _page(self) -> str:
        return self._address.page

    async def _serve_page(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.admin.serves(request):
            return await self.admin.serve(request)
        if request.path.startswith(_BLOB_ROUTES):
            return await self._storage.blobs.serve(request)
        return await self._dashboard.serve(request)

    def _introduce(self, function: FunctionEntry) -> None:
        """Say, before a function's first container starts, what this machine lacks for it."""
        if not self._factory.isolation.namespaces:
            for text in without_namespaces(function):
                self.say(text)

    def _make_pool(self, function: FunctionEntry) -> InputPool | ServerPool:
        if serves_http(function.definition):
            return ServerPool(function, self._factory)
        return InputPool(function, self._factory, self._calls)

    async def _open_endpoints(self, function: FunctionEntry, definition: api.Function) -> None:
        await self._gateways.open(function, definition)

    @asynccontextmanager
    async def _serve_inside(self, sock: socket.socket, port: int) -> AsyncIterator[None]:
        """Serve blobs, commands and the way out inside a container's own network too."""
        async with AsyncExitStack() as stack:
            if port == PROXY_PORT:
                await stack.enter_async_context(self._proxy.serving(sock))
            elif port == self._commands.port:
                await stack.enter_async_context(self._commands.serving(sock))
            else:
                site = web.SockSite(self._pages, sock)
                stack.push_async_callback(site.stop)
                await site.start()
            yield
