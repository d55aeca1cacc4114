"""A custom service as an HTTP server of its own, for Modal's low-latency endpoint."""

from __future__ import annotations

import asyncio
import threading

import uvicorn

from ..endpoints import Endpoint
from ..errors import EngineError
from .access import guarded
from .custom_host import CustomHost

__all__ = ["CustomServer"]


class CustomServer:
    """Loads the model and serves its routes on the endpoint's port, in a thread with its own loop.

    Args:
        host: The service.
        endpoint: Port, path and access.
    """

    def __init__(self, host: CustomHost, endpoint: Endpoint) -> None:
        self._host = host
        app = guarded(host.app(endpoint), endpoint)
        config = uvicorn.Config(
            app,
            host="0.0.0.0",  # noqa: S104 - Modal's proxy reaches it there
            port=endpoint.port,
            log_level="warning",
            access_log=False,
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        self._loaded = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="custom-server", daemon=True)

    def start(self) -> None:
        """Load the model and open the port.

        Raises:
            Exception: Whatever the service's ``load`` or ``warm_up`` raised.
            EngineError: The port could not be opened.
        """
        self._thread.start()
        self._loaded.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let requests under way finish, then unload the model."""
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        try:
            await self._host.start()
        except Exception as error:  # noqa: BLE001 - raised again by `start`
            self._fail(error)
            return
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started and not serving.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # uvicorn has no event for it
        if not self._server.started:
            self._fail(EngineError(f"Port {self._server.config.port} could not be opened."))
            return
        self._loaded.set()
        await serving
        await self._host.stop()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._loaded.set()
