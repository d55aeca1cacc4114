"""Engine processes and tiny models for the tests of the runtime."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from .ports import free_port

_START_DEADLINE_S = 120


@dataclass
class Engine:
    """A running engine process."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def metric(self, name: str) -> float:
        """The value of one metric without labels."""
        page = httpx.get(f"{self.url}/metrics").text
        (line,) = [line for line in page.splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])

    def eventually(self, name: str, value: float) -> bool:
        """Whether a metric reaches a value within a generous time."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.metric(name) == value:
                return True
            time.sleep(0.02)
        return False


class Starter:
    """Starts engine processes and ends them with the test or module."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._engines: list[Engine] = []

    def __call__(self, module: str, *flags: str, wait: bool = True, **environment: str) -> Engine:
        port = free_port()
        log = self._folder / f"{module}-{port}.log"
        process = subprocess.Popen(
            [sys.executable, "-m", f"modalkit.runtime.{module}", "--port", str(port), *flags],
            env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
            stderr=log.open("w"),
            text=True,
        )
        engine = Engine(process, f"http://127.0.0.1:{port}", log)
        self._engines.append(engine)
        if wait:
            _wait_until_ready(engine)
        return engine

    def close(self) -> None:
        for engine in self._engines:
            engine.process.terminate()
            engine.process.wait(timeout=60)


def _wait_until_ready(engine: Engine) -> None:
    deadline = time.monotonic() + _START_DEADLINE_S
    while time.monotonic() < deadline:
        assert engine.process.poll() is None, engine.log.read_text()
        try:
            if httpx.get(f"{engine.url}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"The engine was not ready in time:\n{engine.log.read_text()}")


@pytest.fixture(scope="module")
def start_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Engine]]:
    """A function that starts ``modalkit.runtime.MODULE`` with flags and waits until it is ready."""
    starter = Starter(tmp_path_factory.mktemp("engines"))
    yield starter
    starter.close()


_CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.index0 > 0 and message.role == 'system' %}"
    "{{ raise_exception('The system message comes first.') }}{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level tokenizer trained on this package's own source."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    source = Path(__file__).parents[2] / "src" / "modalkit"
    core.train([str(path) for path in sorted(source.glob("runtime/openai/*.py"))], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    wrapped.chat_template = _CHAT_TEMPLATE
    return wrapped


@pytest.fixture(scope="session")
def tiny_llama(tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama of random weights that never ends by itself."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
