"""How an engine was told to use the memory of a GPU, and the release whose reserve is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import DeclarationError
from .least import refuse_below

__all__ = ["FORMULA_RELEASES", "EngineName", "Serving", "serving"]

EngineName = Literal["sglang", "vllm", "transformers"]

FORMULA_RELEASES: dict[EngineName, str] = {"sglang": "0.5.23", "vllm": "0.33"}
"""The releases whose reserves were read; `Transformers` is modalkit's own and has none."""
_FRACTION_FLAGS: dict[EngineName, str] = {
    "sglang": "--mem-fraction-static",
    "vllm": "--gpu-memory-utilization",
}
_TITLES: dict[EngineName, str] = {
    "sglang": "SGLang",
    "vllm": "vLLM",
    "transformers": "Transformers",
}


@dataclass(frozen=True, slots=True)
class Serving:
    """An engine and what of it decides how memory is used. None is the engine's own default.

    Attributes:
        engine: Which one.
        version: Its release as declared; empty for the one whose formula is known.
        memory_fraction: Share of the card it may take: vLLM's ``--gpu-memory-utilization``, SGLang's
            ``--mem-fraction-static``. Above 0, at most 1.
        chunk_tokens: Prompt tokens read at once: ``--max-num-batched-tokens``, ``--chunked-prefill-size``.
        max_requests: Requests decoded together: ``--max-num-seqs``, ``--max-running-requests``.
        cuda_graphs: Whether graphs are captured.
        prefix_cache: Whether the cache of shared beginnings is kept.

    Raises:
        DeclarationError: A figure that cannot be.
    """

    engine: EngineName
    version: str = ""
    memory_fraction: float | None = None
    chunk_tokens: int | None = None
    max_requests: int | None = None
    cuda_graphs: bool = True
    prefix_cache: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.memory_fraction is not None and not 0 < self.memory_fraction <= 1:
            msg = f"Serving.memory_fraction must be above 0 and at most 1, got {self.memory_fraction!r}."
            raise DeclarationError(msg)
        refuse_below(self, {"chunk_tokens": 1, "max_requests": 1})

    @property
    def formula(self) -> str:
        """Whose formula its reserve is worked out by, such as ``"vLLM 0.33"``."""
        release = FORMULA_RELEASES.get(self.engine)
        return (
            f"{_TITLES[self.engine]} {release}" if release else f"modalkit's {_TITLES[self.engine]}"
        )

    @property
    def fraction_flag(self) -> str:
        """The engine's own option for ``memory_fraction``; empty for one that has none."""
        return _FRACTION_FLAGS.get(self.engine, "")

    @property
    def note(self) -> str:
        """What to know of the formula where another release is declared; empty where it is the same."""
        release = FORMULA_RELEASES.get(self.engine)
        if not release or not self.version or f"{self.version}.".startswith(f"{release}."):
            return ""
        return (
            f"The reserve is that of {self.formula}; {_TITLES[self.engine]} {self.version} is declared, "
            "whose own may differ. Leave some memory free, or serve the release that is known."
        )


def serving(engine: EngineName | Serving) -> Serving:
    """Return an engine with its defaults where only its name is given."""
    return engine if isinstance(engine, Serving) else Serving(engine)
