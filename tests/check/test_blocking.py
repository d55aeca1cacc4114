"""Calls that hold up other requests, and engines that threads share."""

from __future__ import annotations

import pytest

from .checking import codes

HEAD = """import asyncio, os, subprocess, threading, time
import diffusers, httpx, llama_cpp, modal, openai, requests, sglang, torch, transformers, vllm, whisper
from fastapi import FastAPI

app = modal.App("demo")
client = openai.OpenAI()
aclient = openai.AsyncOpenAI()


@app.function()
def heavy(x):
    return x


"""


def _blocks(line: str) -> bool:
    text = (
        f"{HEAD}@app.function()\n@modal.concurrent(max_inputs=9)\nasync def work(x):\n    {line}\n"
    )
    return "MK605" in codes(text)


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(1)",
        "requests.delete('https://a.b')",
        "requests.put('https://a.b', json=x)",
        "httpx.get('https://a.b')",
        "subprocess.run(['ls'])",
        "subprocess.check_output(['ls'])",
        "os.system('ls')",
        "client.chat.completions.create(model='m', messages=[])",
        "return heavy.remote(x)",
    ],
)
def test_a_call_that_blocks_an_async_function_is_found(line: str) -> None:
    """Requests, processes, clients of vendors and ``.remote()`` hold the event loop up."""
    assert _blocks(line)


@pytest.mark.parametrize(
    "line",
    [
        "await asyncio.sleep(1)",
        "await asyncio.to_thread(requests.get, 'https://a.b')",
        "await asyncio.to_thread(lambda: requests.get('https://a.b'))",
        "await httpx.AsyncClient().get('https://a.b')",
        "subprocess.Popen(['ls'])",
        "await asyncio.create_subprocess_exec('ls')",
        "await aclient.chat.completions.create(model='m', messages=[])",
        "return await heavy.remote.aio(x)",
        "return open('/etc/hosts').read()",
    ],
)
def test_what_gives_the_loop_back_is_left(line: str) -> None:
    """Awaited calls, threads, and what takes no time do not block."""
    assert not _blocks(line)


@pytest.mark.parametrize(("used", "found"), [("await helper()", True), ("pass", False)])
def test_helpers_and_handlers_at_the_top_of_the_file_count(used: str, found: bool) -> None:
    """An async helper is judged where a request comes to it."""
    text = (
        f"{HEAD}api = FastAPI()\n\n\nasync def helper():\n    return requests.get('https://a.b')\n\n\n"
        f"@api.get('/')\nasync def page():\n    {used}\n\n\n"
        "@app.function()\n@modal.asgi_app()\ndef web():\n    return api\n"
    )
    assert ("MK605" in codes(text)) is found


def test_a_local_entrypoint_may_block() -> None:
    """Nobody else waits on this machine."""
    text = f"{HEAD}@app.local_entrypoint()\nasync def main():\n    time.sleep(1)\n    heavy.remote(1)\n"
    assert "MK605" not in codes(text)


@pytest.mark.parametrize(("caller", "found"), [("modal.enter", False), ("modal.method", True)])
def test_a_helper_of_a_class_counts_by_who_calls_it(caller: str, found: bool) -> None:
    """What waits at start holds nobody up."""
    text = (
        f"{HEAD}@app.cls()\nclass Server:\n    @{caller}()\n    async def go(self):\n        await self.wait()\n\n"
        "    async def wait(self):\n        time.sleep(1)\n"
    )
    assert ("MK605" in codes(text)) is found


def test_what_runs_once_around_all_requests_may_block() -> None:
    """A lifespan of an app is run before the first request."""
    text = (
        f"{HEAD}import contextlib\n\n\n@contextlib.asynccontextmanager\nasync def lifespan(api):\n    time.sleep(1)\n    yield\n\n\n"
        "@app.function()\n@modal.asgi_app()\ndef web():\n    return FastAPI(lifespan=lifespan)\n"
    )
    assert "MK605" not in codes(text)


def _shared(made: str, used: str, *, concurrent: str = "max_inputs=8", method: str = "def") -> bool:
    text = (
        f"{HEAD}@app.cls(gpu='L4')\n@modal.concurrent({concurrent})\nclass Model:\n    @modal.enter()\n"
        f"    def start(self):\n        self.lock = threading.Lock()\n        self.it = {made}\n\n"
        f"    @modal.method()\n    {method} run(self, x):\n        {used}\n"
    )
    return "MK607" in codes(text)


@pytest.mark.parametrize(
    ("made", "used"),
    [
        ("vllm.LLM('acme/m')", "return self.it.generate(x)"),
        ("sglang.Engine(model_path='acme/m')", "return self.it.generate(x)"),
        ("llama_cpp.Llama(model_path='/m.gguf')", "return self.it(x)"),
        ("llama_cpp.Llama.from_pretrained('acme/m')", "return self.it.create_chat_completion(x)"),
        ("whisper.load_model('base')", "return self.it.transcribe(x)"),
        ("transformers.pipeline('asr', model='acme/m')", "return self.it(x)"),
        ("diffusers.FluxPipeline.from_pretrained('acme/m').to('cuda')", "return self.it(x).images"),
        ("diffusers.AutoPipelineForText2Image.from_pretrained('acme/m')", "return self.it(x)"),
        (
            "transformers.AutoModelForCausalLM.from_pretrained('acme/m').eval()",
            "return self.it.generate(x)",
        ),
    ],
)
def test_threads_in_one_engine_are_found(made: str, used: str) -> None:
    """Inputs of a plain method share the engine, unless a lock, one input at a time or a loop keeps them apart."""
    assert _shared(made, used)
    assert not _shared(made, f"with self.lock:\n            {used}")
    assert not _shared(made, used, concurrent="max_inputs=1")
    assert not _shared(made, used, method="async def")


@pytest.mark.parametrize(
    ("made", "used"),
    [
        ("vllm.AsyncLLMEngine.from_engine_args(x)", "return self.it.generate(x)"),
        ("transformers.AutoModel.from_pretrained('acme/m')", "return self.it(x)"),
        ("transformers.AutoTokenizer.from_pretrained('acme/m')", "return self.it(x)"),
        ("httpx.Client()", "return self.it.get(x)"),
        ("openai.OpenAI()", "return self.it.responses.create(input=x)"),
    ],
)
def test_what_threads_may_share_is_left(made: str, used: str) -> None:
    """Clients, async engines and models that only compute are shared without harm."""
    assert not _shared(made, used)
