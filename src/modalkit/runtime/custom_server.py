"""A custom service as an HTTP server of its own, for Modal's low-latency endpoint."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import uvicorn

from ..declare.endpoints import Endpoint
from ..errors import EngineError
from .custom_host import CustomHost
from .door import guarded
from .gathered_writes import GatheringProtocol

__all__ = ["CustomServer"]

# Longer than clients and proxies keep a connection: whoever closes it first must not be the one that is
# about to be asked. uvicorn's own 5 s lost one request in a thousand of a pool under load.
_KEEP_ALIVE_S = 75


class CustomServer:
    """Loads the model and serves its routes on the endpoint's port, in a thread with its own loop.

    Args:
        host: The service.
        endpoint: Port, path and access.
    """

    def __init__(self, host: CustomHost, endpoint: Endpoint) -> None:
        self._host = host
        app = guarded(host.app(endpoint), endpoint, watch=host.watch)
        config = uvicorn.Config(
            app,
            port=endpoint.port,
            http=GatheringProtocol,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=_KEEP_ALIVE_S,
            # The door says why it takes no more; what is longer still is not kept until it can.
            ws_max_size=(endpoint.max_body_mib + 1) << 20,
        )
        self._server = uvicorn.Server(config)
        self._loaded, self._go_on = threading.Event(), threading.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="custom-server", daemon=True)

    def start(self) -> None:
        """Load the model and open the port.

        Raises:
            Exception: Whatever the service's ``load``, ``wake`` or ``warm_up`` raised.
            EngineError: The port is taken, or the service called ``sys.exit``.
        """
        self.before_snapshot()
        self.after_snapshot()

    def before_snapshot(self) -> None:
        """Load the model; the port is held, but refuses connections.

        Raises:
            Exception: As `start` does.
        """
        self._thread.start()
        self._loaded.wait()
        if self._failure is not None:
            raise self._failure

    def after_snapshot(self) -> None:
        """Go on after the snapshot, in this container or in one that came out of it.

        Raises:
            Exception: As `start` does.
        """
        self._go_on.set()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let requests under way finish, then unload the model.

        Raises:
            Exception: Whatever ended the server early, or the service's ``unload`` raised.
        """
        self._server.should_exit = True
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
                runner.run(self._main())
        except SystemExit as error:
            self._failure = EngineError(f"The service called sys.exit({error.code!r}).")
        except BaseException as error:  # noqa: BLE001 - raised again by `start` or `stop`
            self._failure = error
        finally:
            self._loaded.set()  # whatever happened, `start` must not wait for ever
            self._started.set()

    async def _main(self) -> None:
        with _bound(self._server.config.port) as address:  # before a model is loaded in vain
            await self._host.before_snapshot()
            self._loaded.set()
            await asyncio.to_thread(self._go_on.wait)
            await self._host.after_snapshot()
            try:
                await self._serve(address)
            finally:
                await self._host.stop()

    async def _serve(self, address: socket.socket) -> None:
        serving = asyncio.create_task(self._server.serve([address]))
        while not self._server.started and not serving.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # uvicorn has no event for it
        if self._server.started:
            self._started.set()
        await serving


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's where the image has it: it halves what a small request costs."""
    try:
        import uvloop  # noqa: PLC0415 - an image of somebody else's making may lack it
    except ImportError:
        return None
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make


def _bound(port: int) -> socket.socket:
    """A socket that holds the port; connections are refused until the server listens on it."""
    address = socket.socket()
    address.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        address.bind(("0.0.0.0", port))  # noqa: S104 - Modal's proxy reaches it there
    except OSError as error:
        address.close()
        msg = (
            f"Port {port} could not be opened: {error.strerror}. Write another Endpoint(port=...)."
        )
        raise EngineError(msg) from error
    return address
