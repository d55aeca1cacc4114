"""Transformers: modalkit's own server process over the transformers library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from ..declare.image import ImageSpec
from .base import Launch
from .own_server import OwnServer
from .sets import engine_set

__all__ = ["Transformers"]


class Transformers(OwnServer):
    """Serve the model with the transformers library and modalkit's continuous batching.

    It runs wherever PyTorch does, a laptop's CPU included, and takes any model transformers
    loads. For throughput on a GPU choose `SGLang` or `VLLM`.

    Args:
        task: ``"generate"`` text, ``"embed"`` it into vectors, or ``"auto"``, which decides by the
            model's own files. Default ``"auto"``.
        dtype: Number format. Default: what the weights were saved in.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ... Default: the first GPU, or the CPU.
        attn_implementation: ``"sdpa"``, ``"eager"`` ... Default: transformers' choice.
        context_length: Tokens of prompt and answer together. Default: the model's own limit, or
            less where memory is short.
        max_batch_size: Answers generated together at most. Default 32.
        max_waiting: Requests that wait behind them; more are answered 429. Default 256.
        max_kv_tokens: Tokens the KV cache holds. Default: what fits into free memory.
        prefill_tokens: Prompt tokens read per step. Default 192 on a CPU, 4096 on a GPU.
        threads: CPU threads. Default: PyTorch's choice.
        trust_remote_code: Run Python that comes with the weights. Default false.
        served_name: The name clients put in ``model=``. Default: the service's model.
        grace_s: Seconds that answers under way may take when the container stops. Default 30.
        env: Environment variables of the process; never secrets.
        torch_version: Release of PyTorch in the image.
        transformers_version: Release of transformers in the image.

    Raises:
        DeclarationError: A count below 1, or a variable that looks like a secret.

    Examples:
        >>> from modalkit.engines import Launch
        >>> engine = Transformers(dtype="bfloat16", max_batch_size=16)
        >>> engine.argv(Launch(model="/model", served_name="tiny"))[-4:]
        ('--dtype', 'bfloat16', '--max-batch-size', '16')
    """

    title: ClassVar[str] = "Transformers"
    module: ClassVar[str] = "modalkit.runtime.transformers"
    start_marks: ClassVar[Mapping[str, str]] = {"weights": r"^ready: .*loaded in ([\d.]+) s\)$"}
    option_flags: ClassVar[Mapping[str, str]] = {
        "task": "--task",
        "dtype": "--dtype",
        "device": "--device",
        "attn_implementation": "--attn-implementation",
        "context_length": "--context-length",
        "max_batch_size": "--max-batch-size",
        "max_waiting": "--max-waiting",
        "max_kv_tokens": "--max-kv-tokens",
        "prefill_tokens": "--prefill-tokens",
        "threads": "--threads",
    }

    task: Literal["auto", "generate", "embed"] | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    device: str | None = None
    attn_implementation: str | None = None
    context_length: PositiveInt | None = None
    max_batch_size: PositiveInt | None = None
    max_waiting: NonNegativeInt | None = None
    max_kv_tokens: PositiveInt | None = None
    prefill_tokens: PositiveInt | None = None
    threads: PositiveInt | None = None
    trust_remote_code: bool = False
    torch_version: str = engine_set("transformers").torch
    transformers_version: str = engine_set("transformers").transformers

    def image(self) -> ImageSpec:
        """Return a slim Python with PyTorch (built for CUDA) and transformers."""
        tested = engine_set("transformers")
        wanted = (f"torch=={self.torch_version}", f"transformers=={self.transformers_version}")
        image = ImageSpec(python=tested.python)
        held = image.holding(tested.layer()) if wanted == tested.requirements else image
        return held.uv(*wanted)

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command line; ``python`` in it is the container's interpreter."""
        revision = ("--revision", launch.revision) if launch.revision else ()
        trust = ("--trust-remote-code",) if self.trust_remote_code else ()
        common = super().argv(launch)
        program = common[: common.index("--host")]
        return (*program, "--model", launch.model, *revision, *common[len(program) :], *trust)

    def environment(self, launch: Launch) -> dict[str, str]:
        """Return the variables: downloads at full speed, then the engine's ``env``."""
        return {"HF_XET_HIGH_PERFORMANCE": "1", **super().environment(launch)}
