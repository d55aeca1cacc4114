"""A model's parameters added up: how many, in how many bytes, and how a split treats them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .configs import Settings
from .formats import Quantization
from .layouts import Parameter
from .module_names import is_tower, is_whole

__all__ = ["Tally"]

# Experts a token passes through: the names configs give the count, in the order they are looked up.
_EXPERTS_PER_TOKEN = (
    "num_experts_per_tok",
    "top_k_experts",
    "num_experts_per_token",
    "moe_k",
    "moe_top_k",
    "moe_topk",
)


class Tally:
    """Adds up a model's parameters and bytes.

    Args:
        settings: Those of the text model.
        quantization: What the checkpoint's quantisation covers.
        dtype_bytes: Bytes of a weight that it does not cover.

    Attributes:
        total: Every parameter once.
        active: Those a text token passes through.
        stored: Bytes of the checkpoint.
        loaded: Bytes as an engine keeps them.
        experts: The routed experts' part of ``loaded``; so are the next three.
        replicated: Kept whole by every tensor-parallel rank.
        key_value: Key and value projections.
        embeddings: Lookup tables and the output head.
        expert_count: Routed experts of a layer.
        widths: Widths that a split of fp8 blocks divides.
        expert_widths: The same of routed experts.
        lora_width: Rows and columns of the layers' linear maps, routed experts aside.
    """

    def __init__(
        self, settings: Settings, quantization: Quantization | None, dtype_bytes: int
    ) -> None:
        self.total = 0
        self.active = self.stored = self.loaded = 0.0
        self.experts = self.replicated = self.key_value = self.embeddings = 0.0
        self.expert_count = 0
        self._settings, self._quantization = settings, quantization
        self._bytes, self._loaded_bytes = dtype_bytes, min(dtype_bytes, 2)
        self.widths: set[int] = set()
        self.expert_widths: set[int] = set()
        self.lora_width = 0
        self._by_layer: dict[int, float] = {}
        self._per_token = self._experts_per_token()

    def add(self, one: Parameter) -> None:
        """Count one parameter."""
        elements = math.prod(one.shape) * one.copies
        self.total += one.elements
        if not is_tower(one.name):
            self.active += one.elements * self._active_share(one)
        for layers, packed in self._sizes(one):
            stored = elements * layers * (packed or self._bytes)
            loaded = elements * layers * (packed or self._loaded_bytes)
            self.stored += stored
            self.loaded += loaded
            self._sort(one, loaded)
        if len(one.shape) == 2 and one.layers and not is_whole(one.name):  # noqa: PLR2004 - a linear map
            self.lora_width += (
                sum(one.shape) * len(one.layers) * (0 if _is_expert(one) else one.copies)
            )
        if one.layers:
            last = one.layers[-1]
            size = elements * self._one_size(one, last)
            self._by_layer[last] = self._by_layer.get(last, 0.0) + size

    def prediction_bytes(self) -> int:
        """Return the bytes of multi-token-prediction layers: each the last layer and a projection.

        The projection makes one state of two. Such layers are stored but loaded only to speculate.
        """
        count = self._settings.number("num_nextn_predict_layers", "mtp_num_hidden_layers")
        last = self._by_layer[max(self._by_layer)] if self._by_layer else 0.0
        hidden = self._settings.number("hidden_size")
        return round(count * (last + 2.0 * self._bytes * hidden * hidden))

    def _sizes(self, one: Parameter) -> Iterable[tuple[int, float]]:
        """Yield how many layers store it, and in how many bytes (0 for the checkpoint's type)."""
        if self._quantization is None:
            return [(max(1, len(one.layers)), 0.0)]
        if not one.layers:
            return [(1, self._packed(one, None))]
        groups = self._quantization.alike(one.layers)
        return [(len(group), self._packed(one, group[0])) for group in groups]

    def _packed(self, one: Parameter, layer: int | None) -> float:
        kind = self._quantization.format_of(one, layer) if self._quantization else None
        if kind is None:
            return 0.0
        if kind.block and "intermediate" not in one.name:
            self._note_width(one, kind.block)
        return kind.bytes_per_weight

    def _one_size(self, one: Parameter, layer: int) -> float:
        kind = self._quantization.format_of(one, layer) if self._quantization else None
        return kind.bytes_per_weight if kind else self._bytes

    def _note_width(self, one: Parameter, block: int) -> None:
        """Remember the width that a split of a feed-forward layer divides."""
        if one.name.endswith("down_proj.weight") or one.name.endswith("down_proj"):
            width = one.shape[-1]
            if width >= block:
                whole = (
                    _is_expert(one) or "shared" in one.name
                )  # spread whole experts leave both whole
                (self.expert_widths if whole else self.widths).add(width)

    def _sort(self, one: Parameter, size: float) -> None:
        """Say how a split treats it."""
        if _is_expert(one):
            self.experts += size
            self.expert_count = max(self.expert_count, one.shape[0] if _fused(one) else one.copies)
        elif len(one.shape) < 2 or "_a_proj" in one.name or _is_router(one.name):  # noqa: PLR2004
            self.replicated += size
        elif one.name.endswith(("k_proj.weight", "v_proj.weight")):
            self.key_value += size
        if any(word in one.name for word in ("embed_tokens", "wte", "lm_head", "word_embeddings")):
            self.embeddings += size

    def _active_share(self, one: Parameter) -> float:
        if not _is_expert(one) or not self._per_token:
            return 1.0
        experts = one.shape[0] if _fused(one) else one.copies
        return min(1.0, self._per_token / experts) if experts > 1 else 1.0

    def _experts_per_token(self) -> int:
        return max(0, self._settings.number(*_EXPERTS_PER_TOKEN))


def _is_expert(one: Parameter) -> bool:
    return ".experts" in one.name and "shared" not in one.name and (_fused(one) or one.copies > 1)


def _fused(one: Parameter) -> bool:
    """Whether every expert is in one tensor."""
    return len(one.shape) == 3  # noqa: PLR2004 - experts, rows, columns


def _is_router(name: str) -> bool:
    return ".gate." in name or "router" in name
