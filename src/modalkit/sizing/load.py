"""What a model must bear, and how it is spread over GPUs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import DeclarationError
from .cache_layer import CacheLayer
from .least import refuse_below
from .serving import EngineName

__all__ = ["BATCHED_TOKENS", "Load", "Split", "stages"]

BATCHED_TOKENS = 8192  # prompt tokens read at once: vLLM's default on cards of 80 GB and more


@dataclass(frozen=True, slots=True)
class Split:
    """How a model is spread over GPUs.

    Attributes:
        tensor: Ranks that share every layer.
        expert: Ranks that share the routed experts; the tensor ranks unless given.
        pipeline: Groups of consecutive layers.
        data: Copies of the attention that serve different requests.

    Raises:
        DeclarationError: A size below 1.
    """

    tensor: int = 1
    expert: int | None = None
    pipeline: int = 1
    data: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        refuse_below(self, dict.fromkeys(("tensor", "pipeline", "data", "expert"), 1))

    @property
    def gpus(self) -> int:
        """GPUs that one copy takes."""
        return self.tensor * self.pipeline * self.data

    @property
    def expert_ranks(self) -> int:
        """Ranks that share the routed experts of a layer."""
        return self.expert or self.tensor * self.data


@dataclass(frozen=True, slots=True)
class Load:
    """What the model must bear.

    Attributes:
        context: Tokens of a request, prompt and answer together.
        concurrency: Requests at once.
        cache_bytes: Bytes of a number in the KV cache: 2 for 16 bit, 1 for fp8.
        batched_tokens: Prompt tokens an engine reads at once; a sliding window holds them as well.
        lora_bytes: Adapters kept ready, in bytes before any split; see `lora_bytes`.
        draft_bytes: Weights of what guesses ahead, before any split.
        draft_layers: What its cache keeps.
        offloaded_bytes: Weights that each GPU leaves in the CPU's memory.

    Raises:
        DeclarationError: A figure that cannot be.
    """

    context: int = 8192
    concurrency: int = 8
    cache_bytes: float = 2.0
    batched_tokens: int = BATCHED_TOKENS
    lora_bytes: int = 0
    draft_bytes: int = 0
    draft_layers: tuple[CacheLayer, ...] = ()
    offloaded_bytes: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        least = {"context": 1, "concurrency": 1, "batched_tokens": 0, "lora_bytes": 0}
        refuse_below(self, least | {"draft_bytes": 0, "offloaded_bytes": 0})
        if not (math.isfinite(self.cache_bytes) and self.cache_bytes > 0):
            msg = f"Load.cache_bytes must be above 0, got {self.cache_bytes!r}. Write 2 for 16 bit, 1 for fp8."
            raise DeclarationError(msg)


def stages(layers: int, pipeline: int, engine: EngineName) -> tuple[range, ...]:
    """Return which layers each stage of a pipeline has.

    vLLM gives what is left over to the stages before the last, SGLang to the last ones (both in
    ``distributed/utils.py::get_pp_indices``; vLLM 0.32, SGLang 0.5.23).

    Args:
        layers: Layers of the text model.
        pipeline: Stages.
        engine: Whose rule counts; transformers has none and takes vLLM's.
    """
    sizes = [layers // pipeline] * pipeline
    skipped = 1 if engine == "sglang" else 2
    for number in range(layers % pipeline):
        sizes[-number - skipped] += 1
    ends = [sum(sizes[: number + 1]) for number in range(pipeline)]
    return tuple(range(end - size, end) for size, end in zip(sizes, ends, strict=True))
