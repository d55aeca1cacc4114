"""A model's size, from its ``config.json`` alone: parameters, bytes, what its cache keeps.

Everything else in this package works on the `ModelFacts` made here; a model whose architecture is not
known can be stated by hand with the same class.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .._values import Value
from ..errors import SizingError
from .cache import CacheLayer, Keeps, cache_layers
from .composed import layout_of
from .configs import Config
from .formats import DTYPE_BYTES, Quantization, dtype_of, quantization_of
from .layouts import Parameter, parameters
from .module_names import is_tower

__all__ = ["ModelFacts", "model_facts", "read_model"]

GIB = 1024**3
# KV-head counts, experts per token: the names configs give them, in the order they are looked up.
_EXPERTS_PER_TOKEN = (
    "num_experts_per_tok",
    "top_k_experts",
    "num_experts_per_token",
    "moe_k",
    "moe_top_k",
    "moe_topk",
)


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
        expert_bytes: The routed experts' part of ``loaded_bytes``.
        replicated_bytes: The part that every tensor-parallel rank keeps whole.
        key_value_bytes: The part of key and value projections, which ranks above the head count share.
        embedding_bytes: Lookup tables and the output head, part of ``loaded_bytes``.
        cache: What each layer's KV cache keeps; empty for an encoder.
        attention_heads: Query heads; tensor parallelism must divide them.
        kv_heads: Key-value heads; 1 where every rank keeps the same latent.
        block_sizes: Widths that fp8 blocks of 128 must divide after a split.
        expert_block_sizes: The same of routed experts; spreading whole experts avoids it.
        max_context: Tokens the model was made for; 0 if it does not say.
        hidden_size: Width of the residual stream.
        vocab_size: Entries of the vocabulary.
        layers: Layers of the text model.
        experts: Routed experts per layer; 0 for a dense model.

    Raises:
        DeclarationError: A value that cannot be.
    """

    name: str
    model_type: str = ""
    dtype: str = "bfloat16"
    quantization: str | None = None
    total_parameters: int
    active_parameters: int
    weight_bytes: int
    loaded_bytes: int
    extra_stored_bytes: int = 0
    expert_bytes: int = 0
    replicated_bytes: int = 0
    key_value_bytes: int = 0
    embedding_bytes: int = 0
    cache: tuple[CacheLayer, ...] = ()
    attention_heads: int = 1
    kv_heads: int = 1
    block_sizes: tuple[int, ...] = ()
    expert_block_sizes: tuple[int, ...] = ()
    max_context: int = 0
    hidden_size: int = 0
    vocab_size: int = 0
    layers: int = 0
    experts: int = 0

    def kv_bytes_per_token(self, cache_bytes: float = 2.0) -> int:
        """Return the bytes one more token takes over all layers, before any split.

        Sliding layers count: below their window each token takes as much.

        Args:
            cache_bytes: Bytes of a number in the cache: 2 for 16 bit, 1 for fp8.
        """
        return round(sum(_per_token(layer, cache_bytes) for layer in self.cache))

    @property
    def state_bytes_per_sequence(self) -> int:
        """Bytes a sequence takes whatever its length: recurrent and convolution states."""
        return sum(layer.state_bytes for layer in self.cache)

    def valid_tensor_parallel(self, most: int = 8, *, whole_experts: bool = False) -> list[int]:
        """Return the tensor-parallel sizes that divide the model.

        The attention heads must divide; key-value heads must divide or be repeated a whole number of
        times; fp8 blocks of 128 must stay whole.

        Args:
            most: The largest size to try.
            whole_experts: Experts are spread whole over the ranks (expert parallelism), not split.
        """
        return [size for size in range(1, most + 1) if self._divides(size, whole_experts)]

    def _divides(self, size: int, whole_experts: bool) -> bool:
        heads = self.attention_heads % size == 0
        repeated = self.kv_heads % size == 0 or size % self.kv_heads == 0
        widths = self.block_sizes if whole_experts else self.block_sizes + self.expert_block_sizes
        if whole_experts and self.experts % size:
            return False
        blocks = all(width % (128 * size) == 0 or width < 128 for width in widths)  # noqa: PLR2004 - fp8 blocks
        return heads and repeated and (blocks or size == 1)


def _per_token(layer: CacheLayer, cache_bytes: float) -> float:
    if layer.keeps is Keeps.NOTHING:
        return 0.0
    size = layer.elements * cache_bytes + layer.extra_bytes
    return size / layer.window if layer.keeps is Keeps.COMPRESSED else size


def read_model(folder: str | Path) -> ModelFacts:
    """Size the model in a folder; a ``config.json`` is enough.

    Args:
        folder: A folder, or the path of a config file.

    Raises:
        SizingError: No config there, an architecture this version does not know.
    """
    path = Path(folder)
    config = path / "config.json" if path.is_dir() else path
    if not config.is_file():
        msg = (
            f"There is no config.json in {str(folder)!r}; name a model's folder or its config file."
        )
        raise SizingError(msg)
    described = (
        path.with_name("hf_quant_config.json") if path.is_file() else path / "hf_quant_config.json"
    )
    return model_facts(
        _parsed(config),
        name=path.name or str(path),
        described=_parsed(described) if described.is_file() else None,
    )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{str(path)!r} must be a JSON file: {error}."
        raise SizingError(msg) from error
    if not isinstance(loaded, dict):
        msg = f"{str(path)!r} must hold a JSON object, got {type(loaded).__name__}."
        raise SizingError(msg)
    return loaded


def model_facts(
    raw: Mapping[str, object],
    *,
    name: str = "the model",
    described: Mapping[str, object] | None = None,
) -> ModelFacts:
    """Size a model from its parsed ``config.json``.

    Args:
        raw: The config, as parsed.
        name: What to call it in messages.
        described: A parsed ``hf_quant_config.json``, if the repository has one.

    Raises:
        SizingError: An architecture, layer kind or quantisation this version does not know.
    """
    parsed = dict(raw)
    layout = layout_of(parsed)
    config = Config.read(parsed, layout)
    found = list(parameters(layout, config.fields))
    quantization = quantization_of(parsed, dict(described) if described else None)
    stack, prefix = _text_stack(layout)
    cache = tuple(cache_layers(config, found, stack, prefix)) if stack else ()
    dtype = dtype_of(parsed)
    tally = _Tally(config, prefix, quantization, DTYPE_BYTES.get(dtype, 2))
    for one in found:
        tally.add(one)
    return _facts(name, dtype, config, tally, cache)


def _facts(
    name: str, dtype: str, config: Config, tally: _Tally, cache: tuple[CacheLayer, ...]
) -> ModelFacts:
    def number(field: str) -> int:
        value = config.fields.get(f"{tally.prefix}{field}")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    caching = [layer for layer in cache if layer.keeps is not Keeps.NOTHING]
    return ModelFacts(
        name=name,
        model_type=config.model_type,
        dtype=dtype,
        quantization=tally.quantization.format.name if tally.quantization else None,
        total_parameters=tally.total,
        active_parameters=round(tally.active),
        weight_bytes=round(tally.stored),
        loaded_bytes=round(tally.loaded),
        extra_stored_bytes=_prediction_bytes(config, tally),
        expert_bytes=round(tally.experts),
        replicated_bytes=round(tally.replicated),
        key_value_bytes=round(tally.key_value),
        embedding_bytes=round(tally.embeddings),
        cache=cache,
        attention_heads=number("num_attention_heads") or 1,
        kv_heads=min((layer.heads for layer in caching), default=1),
        block_sizes=tuple(sorted(tally.widths)),
        expert_block_sizes=tuple(sorted(tally.expert_widths)),
        max_context=number("max_position_embeddings"),
        hidden_size=number("hidden_size"),
        vocab_size=number("vocab_size"),
        layers=len(cache) or number("num_hidden_layers"),
        experts=tally.expert_count,
    )


def _text_stack(layout: dict[str, Any]) -> tuple[str, str]:
    """Return the path of the text model's layers and of its settings; nothing for an encoder."""
    read_from = str(layout["source"]).split()[-1]
    if read_from.endswith("Model") and not read_from.endswith("LMHeadModel"):
        return "", ""  # the plain class: an encoder, which keeps nothing
    tower = ("vision", "visual", "audio", "encoder", "tower", "image", "speech", "qformer")
    stacks = [row for row in layout["rows"] if "stack" in row and "num_experts" not in row["count"]]
    text = [row for row in stacks if not any(word in row["stack"] for word in tower)]
    if not text:
        return "", ""
    longest = max(text, key=lambda row: len(row["parts"]))
    prefix = longest["count"].rpartition(".")[0]
    return longest["stack"], f"{prefix}." if prefix else ""


def _prediction_bytes(config: Config, tally: _Tally) -> int:
    """Multi-token-prediction layers: one more of the last layer's kind, and a projection of two states."""
    for field in ("num_nextn_predict_layers", "mtp_num_hidden_layers"):
        count = config.fields.get(f"{tally.prefix}{field}")
        if isinstance(count, int) and count > 0:
            return round(count * (tally.last_layer() + tally.projection()))
    return 0


class _Tally:
    """Adds up a model's parameters and bytes."""

    def __init__(
        self, config: Config, prefix: str, quantization: Quantization | None, dtype_bytes: int
    ) -> None:
        self.quantization = quantization
        self.total = 0
        self.active = self.stored = self.loaded = 0.0
        self.experts = self.replicated = self.key_value = self.embeddings = 0.0
        self.expert_count = 0
        self.prefix = prefix
        self._fields = config.fields
        self._bytes, self._loaded_bytes = dtype_bytes, min(dtype_bytes, 2)
        self.widths: set[int] = set()
        self.expert_widths: set[int] = set()
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
        if one.layers:
            last = one.layers[-1]
            size = elements * self._one_size(one, last)
            self._by_layer[last] = self._by_layer.get(last, 0.0) + size

    def last_layer(self) -> float:
        """Bytes of the last layer."""
        return self._by_layer[max(self._by_layer)] if self._by_layer else 0.0

    def projection(self) -> float:
        """Bytes of a prediction layer's projection from two states to one."""
        hidden = self._fields.get(f"{self.prefix}hidden_size")
        return 2.0 * self._bytes * hidden * hidden if isinstance(hidden, int) else 0.0

    def _sizes(self, one: Parameter) -> Iterable[tuple[int, float]]:
        """Yield how many layers store it, and in how many bytes (0 for the checkpoint's type)."""
        if self.quantization is None:
            return [(max(1, len(one.layers)), 0.0)]
        if not one.layers:
            return [(1, self._packed(one, None))]
        groups = self.quantization.alike(one.layers)
        return [(len(group), self._packed(one, group[0])) for group in groups]

    def _packed(self, one: Parameter, layer: int | None) -> float:
        kind = self.quantization.format_of(one, layer) if self.quantization else None
        if kind is None:
            return 0.0
        if kind.block and "intermediate" not in one.name:
            self._note_width(one, kind.block)
        return kind.bytes_per_weight

    def _one_size(self, one: Parameter, layer: int) -> float:
        kind = self.quantization.format_of(one, layer) if self.quantization else None
        return kind.bytes_per_weight if kind else self._bytes

    def _note_width(self, one: Parameter, block: int) -> None:
        """Remember the width that a split of a feed-forward layer divides."""
        if one.name.endswith("down_proj.weight") or one.name.endswith("down_proj"):
            width = one.shape[-1]
            if width >= block:
                (self.expert_widths if _is_expert(one) else self.widths).add(width)

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
        for name in _EXPERTS_PER_TOKEN:
            value = self._fields.get(f"{self.prefix}{name}")
            if isinstance(value, int) and value > 0:
                return value
        return 0


def _is_expert(one: Parameter) -> bool:
    return ".experts" in one.name and "shared" not in one.name and (_fused(one) or one.copies > 1)


def _fused(one: Parameter) -> bool:
    """Whether every expert is in one tensor."""
    return len(one.shape) == 3  # noqa: PLR2004 - experts, rows, columns


def _is_router(name: str) -> bool:
    return ".gate." in name or "router" in name
