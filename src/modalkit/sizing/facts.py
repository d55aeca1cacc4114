"""What sizing knows of a model: `ModelFacts`, worked out from a config or stated by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Self

from pydantic import model_validator

from .._values import Value, between
from ..errors import DeclarationError
from .cache_layer import CacheLayer, Keeps
from .dtypes import DTYPES
from .parts import Division, Kind, Place, WeightPart

__all__ = ["GIB", "ModelFacts"]

GIB = 1024**3
_FP8_BLOCK = 128  # its rows and columns share a scale

_Counted = Annotated[int, between(1)]
_Amount = Annotated[int, between(0)]


class ModelFacts(Value):
    """What sizing knows of a model. Bytes are for the whole model, before any split.

    Attributes:
        name: What to call it.
        model_type: The config's ``model_type``; empty if stated by hand.
        dtype: The checkpoint's type, such as ``"bfloat16"``.
        quantization: The name of its quantised weights' format, or None.
        total_parameters: Every parameter once, tied ones once.
        active_parameters: Those a text token passes through: towers left out, experts by their share.
        weight_bytes: As stored, multi-token-prediction layers aside.
        loaded_bytes: As an engine keeps them: float32 checkpoints are loaded as 16 bit.
        extra_stored_bytes: Multi-token-prediction layers in the checkpoint's files.
        stored_bytes: What the files hold, by their headers, an index or the hub; 0 if nobody knows.
        stored_parameters: What the files hold by their headers, tied ones once, multi-token prediction
            aside; 0 if nobody has read them, or if they are packed.
        lora_width: Rows and columns of the text layers' linear maps, routed experts aside.
        expert_bytes: The routed experts' part of ``loaded_bytes``.
        replicated_bytes: The part that every tensor-parallel rank keeps whole.
        key_value_bytes: The part of key and value projections, which ranks above the head count share.
        embedding_bytes: Lookup tables and the output head, part of ``loaded_bytes``.
        parts: ``loaded_bytes`` by kind; worked out of the figures above where it is left out.
        cache: What each layer's KV cache keeps; empty for an encoder.
        cache_at: The layer of each entry of ``cache``, where some layers have several.
        attention_heads: Query heads; tensor parallelism must divide them.
        kv_heads: Key-value heads; 1 where every rank keeps the same latent.
        block_sizes: Widths that fp8 blocks of 128 must divide after a split.
        expert_block_sizes: The same of routed experts; spreading whole experts avoids it.
        max_context: Tokens the model was made for, rope scaling counted; 0 if it does not say.
        context_is_default: Whether that is the architecture's default, and the config itself says nothing.
        hidden_size: Width of the residual stream.
        vocab_size: Entries of the vocabulary.
        layers: Layers of the text model.
        experts: Routed experts per layer; 0 for a dense model.
        vision: Layers and width of the vision tower as its config says; None without one.

    Raises:
        DeclarationError: A value that cannot be.
    """

    name: str
    model_type: str = ""
    dtype: str = "bfloat16"
    quantization: str | None = None
    total_parameters: _Counted
    active_parameters: _Counted
    weight_bytes: _Counted
    loaded_bytes: _Counted
    extra_stored_bytes: _Amount = 0
    stored_bytes: _Amount = 0
    stored_parameters: _Amount = 0
    lora_width: _Amount = 0
    expert_bytes: _Amount = 0
    replicated_bytes: _Amount = 0
    key_value_bytes: _Amount = 0
    embedding_bytes: _Amount = 0
    parts: tuple[WeightPart, ...] = ()
    cache: tuple[CacheLayer, ...] = ()
    cache_at: tuple[int, ...] = ()
    attention_heads: _Counted = 1
    kv_heads: _Counted = 1
    block_sizes: tuple[_Counted, ...] = ()
    expert_block_sizes: tuple[_Counted, ...] = ()
    max_context: _Amount = 0
    context_is_default: bool = False
    hidden_size: _Amount = 0
    vocab_size: _Amount = 0
    layers: _Amount = 0
    experts: _Amount = 0
    vision: tuple[_Counted, _Counted] | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if problems := list(self._problems()):
            raise DeclarationError(" ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        """What one figure says against another."""
        if self.dtype not in DTYPES:
            yield f"ModelFacts.dtype {self.dtype!r} is not one that is known. Write one of {', '.join(DTYPES)}."
        if self.active_parameters > self.total_parameters:
            yield (
                f"ModelFacts.active_parameters {self.active_parameters:,} are more than total_parameters "
                f"{self.total_parameters:,}. Write as many at most."
            )
        split = self.expert_bytes + self.replicated_bytes + self.key_value_bytes
        for names, part in (
            ("expert_bytes, replicated_bytes and key_value_bytes together", split),
            ("embedding_bytes", self.embedding_bytes),
        ):
            if part > self.loaded_bytes:
                yield (
                    f"ModelFacts.{names} are {part:,}, more than loaded_bytes {self.loaded_bytes:,}. They are "
                    "parts of it."
                )
        if self.cache_at and len(self.cache_at) != len(self.cache):
            yield (
                f"ModelFacts.cache_at names {len(self.cache_at)} layers for {len(self.cache)} entries of cache. "
                "Name one for each, or leave it out."
            )

    def kv_bytes_per_token(self, cache_bytes: float = 2.0) -> int:
        """Return the bytes one more token takes over all layers, before any split.

        Sliding layers count: below their window each token takes as much.

        Args:
            cache_bytes: Bytes of a number in the cache: 2 for 16 bit, 1 for fp8.
        """
        return round(sum(n * _per_token(layer, cache_bytes) for layer, n in self.cache_groups))

    def cross_bytes_per_token(self, cache_bytes: float = 2.0) -> int:
        """Return the bytes that cross-attention keeps for each token of an encoder; 0 without one."""
        crossing = (layer for layer in self.cache if layer.keeps is Keeps.ENCODER)
        return round(sum(layer.elements * cache_bytes for layer in crossing))

    @cached_property
    def cache_groups(self) -> tuple[tuple[CacheLayer, int], ...]:
        """The different layers of ``cache``, each with how many there are."""
        return tuple(Counter(self.cache).items())

    def cache_in(self, layers: range) -> tuple[tuple[CacheLayer, int], ...]:
        """Return ``cache_groups`` of some layers only."""
        at = self.cache_at or range(len(self.cache))
        own = (one for number, one in zip(at, self.cache, strict=True) if number in layers)
        return tuple(Counter(own).items())

    @cached_property
    def state_bytes_per_sequence(self) -> int:
        """Bytes a sequence takes whatever its length: recurrent and convolution states."""
        return sum(n * layer.state_bytes for layer, n in self.cache_groups)

    @property
    def context_limit(self) -> int:
        """Tokens beyond which engines refuse to start; 0 where the config does not say."""
        return 0 if self.context_is_default else self.max_context

    @property
    def stack_layers(self) -> int:
        """Layers that a pipeline can share out."""
        return self.layers or len(self.cache)

    @property
    def weight_parts(self) -> tuple[WeightPart, ...]:
        """``parts``; where they are left out, or no longer make ``loaded_bytes``, what the figures say."""
        whole = sum(part.bytes for part in self.parts) == self.loaded_bytes
        return self.parts if self.parts and whole else tuple(self._stated())

    def _stated(self) -> Iterator[WeightPart]:
        """Parts of a model whose bytes are stated by hand; nobody says which layers have them."""
        ends = min(self.embedding_bytes, self.loaded_bytes - self._divided_otherwise)
        rest = self.loaded_bytes - self._divided_otherwise - ends
        for kind, division, place, size in (
            (Kind.EMBEDDINGS, Division.TENSOR, Place.ENDS, ends),
            (Kind.STATED, Division.TENSOR, Place.EVENLY, rest),
            (Kind.ATTENTION, Division.HEADS, Place.EVENLY, self.key_value_bytes),
            (Kind.EXPERTS, Division.EXPERTS, Place.EVENLY, self.expert_bytes),
            (Kind.NORMS, Division.WHOLE, Place.EVENLY, self.replicated_bytes),
        ):
            if size:
                yield WeightPart(kind, division, place, 0, size, self.quantization or self.dtype)

    @property
    def _divided_otherwise(self) -> int:
        return self.expert_bytes + self.replicated_bytes + self.key_value_bytes

    def valid_tensor_parallel(self, most: int = 8, *, whole_experts: bool = False) -> list[int]:
        """Return the tensor-parallel sizes that divide the model.

        The attention heads must divide; key-value heads must divide or be repeated a whole number of
        times; fp8 blocks of 128 must stay whole.

        Args:
            most: The largest size to try.
            whole_experts: Experts are spread whole over the ranks (expert parallelism), not split.
        """
        return [
            size
            for size in range(1, most + 1)
            if self.divides(size) and self.experts_divide(size, size if whole_experts else 1)
        ]

    def divides(self, ranks: int, *, attention: int | None = None) -> bool:
        """Return whether heads and fp8 blocks divide over tensor-parallel ranks, routed experts aside.

        Args:
            ranks: That share every layer.
            attention: That share the attention, where there are several copies of it. Default: all.
        """
        sharing = attention or ranks
        heads = self.attention_heads % sharing == 0
        repeated = self.kv_heads % sharing == 0 or sharing % self.kv_heads == 0
        return heads and repeated and _blocks_stay_whole(self.block_sizes, ranks)

    def experts_divide(self, ranks: int, groups: int) -> bool:
        """Return whether routed experts divide: each over the ranks of a group, the groups having whole ones."""
        if not self.experts or ranks == 1:
            return True
        whole = ranks % groups == self.experts % groups == 0
        return whole and _blocks_stay_whole(self.expert_block_sizes, ranks // groups)


def _blocks_stay_whole(widths: Iterable[int], ranks: int) -> bool:
    return ranks == 1 or all(
        width % (_FP8_BLOCK * ranks) == 0 or width < _FP8_BLOCK for width in widths
    )


def _per_token(layer: CacheLayer, cache_bytes: float) -> float:
    if layer.keeps in {Keeps.NOTHING, Keeps.ENCODER}:
        return 0.0
    size = layer.elements * cache_bytes + layer.extra_bytes
    return size / layer.window if layer.keeps is Keeps.COMPRESSED else size
