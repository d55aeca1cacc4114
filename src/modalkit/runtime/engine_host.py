"""The engine of one container: started at enter, asked by methods and gateway, stopped at exit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from ..engines.base import Engine, Launch
from ..errors import EngineError
from .engine_client import EngineClient
from .process import EngineProcess

if TYPE_CHECKING:
    from .verify import LockedWeights

__all__ = ["EngineHost"]

# Requests under way when a container stops may take this long; Modal's own limit is 30 s.
GRACE_S = 25.0


class EngineHost:
    """One engine process and the client that talks to it.

    Args:
        engine: The declaration.
        launch: What it is started with. The GPU count is replaced by this container's; an engine
            on loopback gets a free port, since containers of a local Modal share one network.
        timeout_s: How long it may take to be ready, in seconds.
        weights: What must be as it is locked before the engine reads it. Default: nothing is locked.
    """

    def __init__(
        self,
        engine: Engine,
        launch: Launch,
        timeout_s: float,
        weights: LockedWeights | None = None,
    ) -> None:
        self._engine = engine
        self._launch = launch.model_copy(update=_of_this_container(launch))
        self._timeout_s = timeout_s
        self._weights = weights
        self._process: EngineProcess | None = None
        self._client: EngineClient | None = None

    def start(self) -> None:
        """Verify the weights, start the process and wait until it is ready.

        Raises:
            WeightsError: The weights are not the locked ones.
            EngineExitedError: It ended while starting.
            EngineTimeoutError: It was not ready in time.
        """
        awaited = self._weights.verify() if self._weights else ()
        engine, launch = self._engine, self._launch
        keys = _keys(launch)
        environment = engine.environment(launch)
        if engine.child_key_variable and keys:
            environment[engine.child_key_variable] = keys[0]
        argv = _with_this_python(engine.argv(launch))
        self._process = EngineProcess(engine.title, argv, environment, secrets=keys)
        try:
            self._process.wait_ready("127.0.0.1", launch.port, engine.ready_path, self._timeout_s)
            if self._weights and awaited:  # what the engine has downloaded meanwhile
                self._weights.verify(awaited)
        except BaseException:
            self._process.stop(grace_s=0)
            raise

    @property
    def port(self) -> int:
        """The port the engine listens on."""
        return self._launch.port

    @property
    def client(self) -> EngineClient:
        """The client, made at first use inside the container's event loop."""
        if self._process is None:
            msg = f"{self._engine.title} has not been started in this process."
            raise EngineError(msg)
        if self._client is None:
            url = f"http://127.0.0.1:{self._launch.port}"
            self._client = EngineClient(self._process, url, self._launch.served_name)
        return self._client

    async def stop(self) -> None:
        """Close the client and stop the process."""
        if self._client is not None:
            await self._client.close()
        self.stop_process()

    def stop_process(self) -> None:
        """Stop the process, letting requests under way finish first."""
        if self._process is not None:
            self._process.stop(GRACE_S)


def _with_this_python(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Let ``python`` be the interpreter of this container, whatever PATH says."""
    return (sys.executable, *argv[1:]) if argv[0] == "python" else argv


def _keys(launch: Launch) -> tuple[str, ...]:
    if launch.key_variable is None:
        return ()
    return tuple(os.environ.get(launch.key_variable, "").replace(",", "\n").split())


def _of_this_container(launch: Launch) -> dict[str, object]:
    is_private = launch.host == "127.0.0.1"
    port = _free_port() if is_private else launch.port
    return {"gpu_count": _gpu_count(launch), "port": port}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _gpu_count(launch: Launch) -> int:
    """GPUs this container really has; a fallback choice may have brought another count."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip()])
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"],  # noqa: S607 - found on PATH wherever there is a driver
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return launch.gpu_count
    return len(listed.stdout.splitlines()) or launch.gpu_count
