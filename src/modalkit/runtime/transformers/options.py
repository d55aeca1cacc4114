"""What the transformers engine is told at its start."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal, cast

__all__ = ["EngineOptions", "Task", "add_engine_flags", "engine_options"]

Task = Literal["auto", "generate", "embed"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """A model and how to run it.

    Attributes:
        model: A folder, or a repository id of the hub.
        revision: A branch, tag or commit of the repository.
        served_model_name: What clients send as ``model``; None is ``model`` itself.
        task: ``generate`` or ``embed``; ``auto`` decides by the model's own files.
        dtype: ``auto`` is what the weights were saved in.
        device: ``auto`` is the first GPU, or the CPU without one.
        attn_implementation: Passed on to transformers; None is its own choice.
        max_batch_size: The most answers generated at a time.
        max_waiting: The most that wait behind them; more is answered 429.
        context_length: The most tokens of prompt and answer; None is what the model was made
            for, or less when memory is short.
        max_kv_tokens: The most tokens the key-value cache holds, padding included; None is what
            fits into a share of the free memory.
        prefill_tokens: The most prompt tokens per model call, so that long prompts do not
            stall the answers under way; None is 192 on a CPU and 4096 on a GPU.
        threads: CPU threads of the model; None is as many as this container may use.
    """

    model: str
    revision: str | None = None
    served_model_name: str | None = None
    task: Task = "auto"
    dtype: str = "auto"
    device: str = "auto"
    attn_implementation: str | None = None
    trust_remote_code: bool = False
    max_batch_size: int = 32
    max_waiting: int = 256
    context_length: int | None = None
    max_kv_tokens: int | None = None
    prefill_tokens: int | None = None
    threads: int | None = None

    @property
    def name(self) -> str:
        """What clients send as ``model``."""
        return self.served_model_name or self.model


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Define the flags that `engine_options` reads."""
    model = parser.add_argument_group("model")
    model.add_argument("--model", required=True, help="folder or hub repository id")
    model.add_argument("--revision", help="branch, tag or commit of the repository")
    model.add_argument("--served-model-name", help="what clients send as model")
    model.add_argument("--task", choices=("auto", "generate", "embed"), default="auto")
    dtypes = ("auto", "float32", "bfloat16", "float16")
    model.add_argument("--dtype", choices=dtypes, default="auto")
    model.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    model.add_argument("--attn-implementation", help="eager, sdpa, flash_attention_2 ...")
    model.add_argument("--trust-remote-code", action="store_true")
    work = parser.add_argument_group("work")
    count = _positive
    work.add_argument("--max-batch-size", type=count, default=32, help="answers at a time")
    work.add_argument("--max-waiting", type=int, default=256, help="requests behind them")
    work.add_argument("--context-length", type=count, help="tokens of prompt and answer")
    work.add_argument("--max-kv-tokens", type=count, help="tokens in the key-value cache")
    work.add_argument("--prefill-tokens", type=count, help="prompt tokens per call")
    work.add_argument("--threads", type=count, help="CPU threads of the model")


def engine_options(flags: argparse.Namespace) -> EngineOptions:
    """What `add_engine_flags` read."""
    return EngineOptions(
        model=flags.model,
        revision=flags.revision,
        served_model_name=flags.served_model_name,
        task=cast("Task", flags.task),
        dtype=flags.dtype,
        device=flags.device,
        attn_implementation=flags.attn_implementation,
        trust_remote_code=flags.trust_remote_code,
        max_batch_size=flags.max_batch_size,
        max_waiting=flags.max_waiting,
        context_length=flags.context_length,
        max_kv_tokens=flags.max_kv_tokens,
        prefill_tokens=flags.prefill_tokens,
        threads=flags.threads,
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        msg = f"{value} is not a positive number"
        raise argparse.ArgumentTypeError(msg)
    return value
