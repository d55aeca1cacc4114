"""The life of an engine process: listen, load, serve, drain, stop."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import uvicorn

from ...errors import ModalkitError
from ..keys import keys_from_environment
from .app import build_app
from .backend import Backend
from .routes import Routes

__all__ = ["ServerOptions", "add_server_flags", "run", "server_options"]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where to listen and how to stop.

    Attributes:
        api_key_env: The environment variable with the keys; None serves without one.
        grace_s: How long answers under way may take after SIGTERM, in seconds.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key_env: str | None = None
    grace_s: int = 30


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """The flags every engine process of modalkit has."""
    group = parser.add_argument_group("server")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on")
    group.add_argument("--port", type=int, default=8000, help="port to listen on")
    group.add_argument(
        "--api-key-env",
        metavar="NAME",
        help="environment variable that holds the API key, or several separated by commas; "
        "without it no key is asked for",
    )
    group.add_argument(
        "--grace-s",
        type=int,
        default=30,
        metavar="S",
        help="seconds that answers under way may take after SIGTERM",
    )


def server_options(flags: argparse.Namespace) -> ServerOptions:
    """What `add_server_flags` read."""
    return ServerOptions(flags.host, flags.port, flags.api_key_env, flags.grace_s)


def run(backend: Backend, options: ServerOptions) -> int:
    """Serve until SIGTERM or SIGINT; the exit status.

    The port is open from the start and `/health` says 503 until the model is loaded. A model
    that cannot be loaded ends the process with status 1, the reason last on stderr.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        keys = keys_from_environment(options.api_key_env)
    except ModalkitError as error:
        _say(str(error))
        return 2
    # Not at the top: the door answers with this package's errors.
    from ..door import with_door_from_environment  # noqa: PLC0415

    app, routes = build_app(backend, keys)
    server = _Server(
        uvicorn.Config(
            with_door_from_environment(app),
            host=options.host,
            port=options.port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=options.grace_s,
        )
    )
    loading = _Loading(backend, routes, server, f"http://{options.host}:{options.port}")
    return _serve(server, loading, backend)


def _serve(server: _Server, loading: _Loading, backend: Backend) -> int:
    loading.start()
    try:
        server.run()
    except SystemExit:  # uvicorn has already said that it cannot listen there
        _end_now(1)
    if loading.is_alive():  # in native code that no signal interrupts
        _end_now(0)
    backend.close()
    if loading.failure is not None:
        _say(loading.failure)
        return 1
    return 0


class _Server(uvicorn.Server):
    """A server that a signal ends with exit status 0 once it has drained."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT without raising them again afterwards."""
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._stop) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self.force_exit = self.should_exit  # the second signal does not wait for answers
        self.should_exit = True


class _Loading(threading.Thread):
    """Loads the model beside the server, which already answers `/health`."""

    def __init__(self, backend: Backend, routes: Routes, server: _Server, url: str) -> None:
        super().__init__(name="modalkit-load", daemon=True)
        self._backend = backend
        self._routes = routes
        self._server = server
        self._url = url
        self.failure: str | None = None

    def run(self) -> None:
        """Load, and either open the routes or end the server."""
        started = time.perf_counter()
        try:
            what = self._backend.load()
        except ModalkitError as error:
            self.failure = str(error)
        except Exception as error:
            logging.getLogger(__name__).debug("Loading failed.", exc_info=error)
            self.failure = f"{self._backend.card.id!r} could not be loaded: {_one_line(error)}"
        if self.failure is not None:
            self._server.should_exit = True
            return
        self._routes.ready = True
        seconds = time.perf_counter() - started
        _say(f"ready: {self._backend.card.id} on {self._url} ({what}; loaded in {seconds:.1f} s)")


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _end_now(status: int) -> None:
    """End without waiting for a thread that is deep in native code."""
    sys.stderr.flush()
    os._exit(status)
