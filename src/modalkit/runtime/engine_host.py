"""The engine of one container: started at enter, asked by methods and gateway, stopped at exit."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..declare.cold_start import ColdStart
from ..declare.endpoints import Endpoint
from ..declare.webhook import Webhook
from ..engines.base import Engine, Launch
from ..errors import EngineError, EngineExitedError
from .asking import Asker
from .handover import Handover, handover, requests_of
from .observe.watch import Watch
from .phases import Phases
from .process import EngineProcess
from .snapshot import engine_sleeps, engine_wakes
from .warm_up import warm_up

if TYPE_CHECKING:
    from ..lock import LockedFile
    from .engine_client import EngineClient
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
        endpoint: Who may reach it from outside. Default: nobody does.
        cold_start: Snapshot and warm-up. Default: `ColdStart`'s.
        service: The class it serves, for the log.
        leave: Called once when the engine dies while it serves, so that the container ends too
            and Modal starts another. Default: the error is only logged.
        on_failure: Who is told of failures. Default: nobody.
    """

    def __init__(
        self,
        engine: Engine,
        launch: Launch,
        timeout_s: float,
        weights: LockedWeights | None = None,
        endpoint: Endpoint | None = None,
        *,
        cold_start: ColdStart | None = None,
        service: str = "",
        leave: Callable[[], None] | None = None,
        on_failure: Webhook | None = None,
    ) -> None:
        self._phases = Phases(engine.start_marks)
        self._engine = engine
        self._declared = launch
        self._launch = launch.model_copy(update=_of_this_container(launch))
        self._timeout_s = timeout_s
        self._weights = weights
        self._cold_start = cold_start or ColdStart()
        self._service = service or launch.served_name
        self._leave = leave
        self._serving = False
        self._endpoint = endpoint
        self._handover = Handover()
        self._process: EngineProcess | None = None
        self._client: EngineClient | None = None
        requests = requests_of(engine, launch.served_name)
        self.watch = Watch(self._service, endpoint, on_failure, requests)

    def start(self) -> None:
        """Verify the weights, start the process, wait until it has answered real requests.

        Raises:
            WeightsError: The weights are not the locked ones.
            EngineExitedError: It ended while starting.
            EngineTimeoutError: It was not ready in time.
            EngineError: It refused or failed the requests that warm it up, or would be reached
                without modalkit's door in front.
        """
        with self.watch.starting():
            self._run()
            self._serve()

    def before_snapshot(self) -> None:
        """Do what the snapshot is to hold: all of `start`, or the weights' check where a GPU is missing.

        Raises:
            ModalkitError: As `start` does; or the engine did not go to sleep.
        """
        with self.watch.starting():
            self._before_snapshot()

    def _before_snapshot(self) -> None:
        if self._waits_for_gpu:
            with self._phases.measure("weights"):
                self._verify()
        else:
            self._run()
            if self._cold_start.snapshot == "gpu":
                with self._phases.measure("snapshot"), self._or_stop():
                    engine_sleeps(self._engine, self._asker(), self._timeout_s)
        self._phases.pause()

    def after_snapshot(self) -> None:
        """Go on after the snapshot was made, or after this container came out of it.

        Raises:
            ModalkitError: As `start` does; or the engine did not wake up.
        """
        with self.watch.starting():
            self._after_snapshot()

    def _after_snapshot(self) -> None:
        self._phases.resume()
        if self._waits_for_gpu:
            gpus = {"gpu_count": _gpu_count(self._declared)}  # there was none to count until now
            self._launch = self._launch.model_copy(update=gpus)
            self._run()
        else:
            with self._phases.measure("wake"), self._or_stop():
                self._started.check()
                engine_wakes(self._engine, self._asker(), self._timeout_s)
        self._serve()

    @property
    def port(self) -> int:
        """The port the engine listens on."""
        return self._launch.port

    @property
    def client(self) -> EngineClient:
        """The client, made at first use inside the container's event loop."""
        if self._client is None:
            from .engine_client import EngineClient  # noqa: PLC0415 - see `_import_meanwhile`

            url = f"http://127.0.0.1:{self._launch.port}"
            self._client = EngineClient(
                self._started,
                url,
                self._launch.served_name,
                self._handover.client_headers,
                self.watch.tracing,
            )
        return self._client

    async def stop(self) -> None:
        """Close the client and stop the process."""
        if self._client is not None:
            await self._client.close()
        self.stop_process()

    def stop_process(self) -> None:
        """Stop the process, letting requests under way finish first."""
        self._serving = False
        if self._process is not None:
            self._process.stop(GRACE_S)
        self.watch.close()

    @property
    def _started(self) -> EngineProcess:
        if self._process is None:
            msg = f"{self._engine.title} has not been started in this process."
            raise EngineError(msg)
        return self._process

    @property
    def _waits_for_gpu(self) -> bool:
        """Whether the engine starts after the snapshot: a CPU's holds nothing that needs the GPU."""
        return self._cold_start.snapshot == "cpu" and self._declared.gpu_count > 0

    def _verify(self) -> tuple[LockedFile, ...]:
        """Hold what is there to the lock; what is not there yet."""
        return self._weights.verify() if self._weights else ()

    def _run(self) -> None:
        """Verify, start, wait, warm up."""
        deadline = time.monotonic() + self._timeout_s
        with self._phases.measure("weights"):
            awaited = self._verify()
        with self._phases.measure("engine"):
            self._process = self._new_process()
            _import_meanwhile("engine_client", "gateway", "door")
        with self._or_stop():
            with self._phases.measure("engine"):
                self._process.wait_ready(
                    "127.0.0.1",
                    self.port,
                    self._engine.ready_path,
                    deadline - time.monotonic(),
                    self._handover.headers,
                )
                self._handover.try_door(self._engine.title, self.port)
            if self._weights and awaited:  # what the engine has downloaded meanwhile
                with self._phases.measure("weights"):
                    self._weights.verify(awaited)
            with self._phases.measure("warm_up"):
                left = deadline - time.monotonic()
                requests = self._engine.warm_up_requests()
                warm_up(self._asker(), requests, self._cold_start.warm_up, left)

    def _new_process(self) -> EngineProcess:
        engine, launch = self._engine, self._launch
        self._handover = handover(engine, self._endpoint, self._service, launch.served_name)
        argv = _with_this_python(engine.argv(launch))
        try:
            return EngineProcess(
                engine.title,
                argv,
                {**engine.environment(launch), **self._handover.environment},
                secrets=self._handover.hidden,
                on_line=self._phases.hear,
                on_death=self._died,
            )
        except FileNotFoundError as error:
            msg = (
                f"{engine.title} cannot be started: this container has no program {argv[0]!r}. Its image has to bring "
                "it; VLLM and SGLang take a Python of their own by interpreter='/path/to/python'."
            )
            raise EngineError(msg) from error

    def _serve(self) -> None:
        self._serving = True
        self._phases.log(self._service, self._cold_start)

    def _died(self, error: EngineExitedError) -> None:
        """Tell it, and let Modal replace a container that could only fail from here on."""
        if not self._serving:
            return  # whoever waits for the start hears of it there
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        self.watch.engine_died(error.returncode)
        if self._leave is not None:
            self._leave()

    def _asker(self) -> Asker:
        return Asker(self._started, self.port, self._launch.served_name, self._handover.headers)

    @contextmanager
    def _or_stop(self) -> Iterator[None]:
        """End the process if what is done with it fails."""
        try:
            yield
        except BaseException:
            self._started.stop(grace_s=0)
            raise


def _import_meanwhile(*modules: str) -> None:
    """Import what the first request needs while the engine starts, which takes longer."""
    for module in modules:
        name = f"{__package__}.{module}"
        threading.Thread(target=importlib.import_module, args=[name], daemon=True).start()


def _with_this_python(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Let ``python`` be the interpreter of this container, whatever PATH says."""
    return (sys.executable, *argv[1:]) if argv[0] == "python" else argv


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
