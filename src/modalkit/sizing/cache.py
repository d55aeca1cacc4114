"""The KV cache, layer by layer: bytes per token, windows, and the state that does not grow.

What a layer keeps is read off its own projections: a key and a value per token are as wide as
``k_proj`` and ``v_proj`` are tall, so grouped, multi-query and odd-sized heads need no rule of their own.

Sources: multi-head latent attention keeps ``kv_lora_rank + qk_rope_head_dim`` per token on every rank
(DeepSeek-V2, section 2.1.2, and vLLM's MLA backend); a lightning indexer keeps one key of
``index_head_dim`` and a 4-byte scale (DeepSeek-V3.2); a linear layer keeps its convolution's last
``kernel - 1`` inputs and a recurrent state (transformers' cache of each class).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..errors import SizingError
from .configs import Config
from .layouts import Parameter

__all__ = ["CacheLayer", "Keeps", "cache_layers"]

Fields = Mapping[str, object]

INDEXER_SCALE_BYTES = 4
STATE_BYTES = 4  # recurrent states are kept in float32 by both engines unless told otherwise


class Keeps(StrEnum):
    """What a layer keeps of the tokens it has seen."""

    ALL = "every token"
    WINDOW = "the last tokens"
    CHUNK = "the current chunk"
    COMPRESSED = "one entry for several tokens"
    NOTHING = "no token"


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """What one layer keeps, before tensor parallelism.

    Attributes:
        name: The layer's kind as the config names it.
        keeps: Of which tokens.
        elements: Numbers kept for a token, in the cache's type.
        extra_bytes: Bytes kept for a token in a type of their own (an indexer's scale).
        window: Tokens kept at most (``WINDOW``, ``CHUNK``), or tokens per entry (``COMPRESSED``).
        state_bytes: Kept once for a sequence, whatever its length.
        heads: Key-value heads that tensor parallelism can spread; 1 for a latent that every rank keeps.
    """

    name: str
    keeps: Keeps
    elements: int = 0
    extra_bytes: int = 0
    window: int = 0
    state_bytes: int = 0
    heads: int = 1


_ATTENTION = {
    "full_attention": Keeps.ALL,
    "attention": Keeps.ALL,
    "indexed_attention": Keeps.ALL,
    "sparse": Keeps.ALL,
    "global": Keeps.ALL,
    "minimax_m3_sparse": Keeps.ALL,
    "sliding_attention": Keeps.WINDOW,
    "local": Keeps.WINDOW,
    "chunked_attention": Keeps.CHUNK,
    "compressed_sparse_attention": Keeps.COMPRESSED,
    "heavily_compressed_attention": Keeps.COMPRESSED,
    "hybrid": Keeps.ALL,
}
_STATE = {"linear_attention", "conv", "mamba", "mamba2", "recurrent", "lightning_attention"}
_NONE = {"mlp", "moe", "identity", "dense"}
_COMPRESSION = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
_FUSED = ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "qkv", "attn.qkv_proj", "in_proj_qkv")
_KEYS = (
    "k_proj.weight",
    "key.weight",
    "k_lin.weight",
    "SelfAttention.k.weight",
    "k_proj.linear.weight",
    "key_proj.weight",
    "Wk.weight",
)
_VALUES = tuple(
    name.replace("k_", "v_").replace("key", "value").replace(".k.", ".v.").replace("Wk", "Wv")
    for name in _KEYS
)
_OUTPUTS = ("o_proj", "dense", "c_proj", "Wo", "out_proj", "proj")
_NOT_SELF = (
    "cross_attn",
    "encoder_attn",
    "indexer",
    "compressor",
    "crossattention",
    "EncDecAttention",
)


def cache_layers(
    config: Config, parameters: Iterable[Parameter], stack: str, prefix: str
) -> list[CacheLayer]:
    """Return what every layer of the text model keeps.

    Args:
        config: The model's config, defaults filled in.
        parameters: The model's parameters.
        stack: The text model's stack of layers, such as ``model.layers``.
        prefix: Where its settings are, such as ``text_config.``.

    Raises:
        SizingError: A kind of layer, or of attention, that this version does not know.
    """
    by_layer: dict[int, dict[str, tuple[int, ...]]] = {}
    for one in parameters:
        if one.name.startswith(f"{stack}.{{}}."):
            short = one.name.removeprefix(f"{stack}.{{}}.")
            for layer in one.layers:
                by_layer.setdefault(layer, {})[short] = one.shape
    reader = _Reader(config, prefix)
    seen: dict[tuple[object, ...], CacheLayer] = {}
    layers = []
    for number in sorted(by_layer):
        kind, shapes = reader.kind(number, by_layer[number]), by_layer[number]
        key = (kind, *sorted(shapes.items()))
        if key not in seen:
            seen[key] = reader.layer(kind, shapes)
        layers.append(seen[key])
    return layers


class _Reader:
    """Reads layers of one config.

    Args:
        prefix: Where the text model's settings are.
    """

    def __init__(self, config: Config, prefix: str) -> None:
        self._fields = config.fields
        self._prefix = prefix
        self._model_type = config.model_type

    def kind(self, number: int, shapes: Mapping[str, tuple[int, ...]]) -> str:
        """Return a layer's kind, as the config lists it or as its window implies."""
        for name in ("layer_types", "layers_block_type"):
            kinds = self._fields.get(f"{self._prefix}{name}")
            if isinstance(kinds, Sequence) and number < len(kinds):
                return self._without_window(str(kinds[number]))
        if any("mamba" in name or "mixer.conv1d" in name for name in shapes):
            return "mamba" if not _self_attention(shapes) else "hybrid"
        return "sliding_attention" if self._slides() else "full_attention"

    def layer(self, kind: str, shapes: Mapping[str, tuple[int, ...]]) -> CacheLayer:
        """Return what a layer of a kind with these parameters keeps."""
        if kind in _NONE:
            return CacheLayer(kind, Keeps.NOTHING)
        state = self._state(shapes)
        if kind in _STATE:
            return CacheLayer(kind, Keeps.NOTHING, state_bytes=state)
        keeps = _ATTENTION.get(kind)
        if keeps is None:
            msg = (
                f"The layer kind {kind!r} of {self._model_type!r} is not one whose cache this version "
                "knows. State the cache with ModelFacts(kv_bytes_per_token=...), or upgrade modalkit."
            )
            raise SizingError(msg)
        elements, heads = self._elements(shapes)
        return CacheLayer(
            kind,
            keeps if elements else Keeps.NOTHING,
            elements,
            self._indexer(shapes),
            self._window(kind, keeps),
            state,
            heads,
        )

    def _without_window(self, kind: str) -> str:
        """A sliding layer without a window keeps everything."""
        if kind == "sliding_attention" and not self._number("sliding_window"):
            return "full_attention"
        return kind

    def _slides(self) -> bool:
        if self._fields.get(f"{self._prefix}use_sliding_window") is False:
            return False
        return bool(self._number("sliding_window"))

    def _window(self, kind: str, keeps: Keeps) -> int:
        if keeps is Keeps.CHUNK:
            return self._number("attention_chunk_size") or 8192  # Llama4TextConfig's default
        if keeps is Keeps.COMPRESSED:
            return _COMPRESSION[kind]
        return self._number("sliding_window") if keeps is Keeps.WINDOW else 0

    def _elements(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
        """Return numbers per token and the heads they spread over."""
        own = _self_attention(shapes)
        for name, shape in own.items():
            if "kv_a_proj" in name and len(shape) > 1:
                return shape[0], 1
        keys = _height(own, *_KEYS)
        values = _height(own, *_VALUES)
        if keys:
            return keys + (values or keys), self._heads(keys)
        if any(name.split(".")[-2:-1] == ["q_proj"] for name in own):
            return 0, 1  # it reads the keys and values of an earlier layer
        if kv := _height(own, "kv_proj.weight", "wkv.weight"):
            return kv * (1 if self._number("num_key_value_heads") == 1 else 2), self._heads(kv)
        return self._fused(own)

    def _fused(self, own: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
        """What is left of a fused projection when the queries, as wide as the output takes, are gone."""
        for name in _FUSED:
            for path, shape in own.items():
                if path.endswith((f"{name}.weight", f"{name}.linear.weight")):
                    both = max(shape) if name == "c_attn" else shape[0]
                    queries = self._queries(own)
                    left = both - queries
                    return left, self._heads(left // 2)
        if own and any("attn" in name or "attention" in name for name in own):
            msg = (
                f"The attention of {self._model_type!r} has no projection this version knows "
                f"({', '.join(sorted(own))}). State its cache with ModelFacts(kv_bytes_per_token=...)."
            )
            raise SizingError(msg)
        return 0, 1

    def _queries(self, own: Mapping[str, tuple[int, ...]]) -> int:
        for name in _OUTPUTS:
            for path, shape in own.items():
                if path.endswith(f".{name}.weight") and len(shape) == 2 and "mlp" not in path:  # noqa: PLR2004
                    return shape[0] if name == "c_proj" else shape[1]
        return self._number("hidden_size")

    def _heads(self, width: int) -> int:
        size = self._number("head_dim") or self._number("d_kv")
        if not size and (heads := self._number("num_attention_heads")):
            size = self._number("hidden_size") // heads
        return max(1, width // size) if size else 1

    def _indexer(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """A sparse attention's index keys: fp8, with a scale."""
        if not any("indexer" in name for name in shapes):
            return 0
        size = self._number("index_head_dim") or 128  # DeepseekV32Config's default
        return size + INDEXER_SCALE_BYTES

    def _state(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """A recurrent layer's convolution inputs and state."""
        convolution = sum(
            math.prod(shape[:-1]) * (shape[-1] - 1) * 2
            for name, shape in shapes.items()
            if "conv" in name and name.endswith("weight") and len(shape) >= 2  # noqa: PLR2004
        )
        return convolution + self._recurrent(shapes) * STATE_BYTES

    def _recurrent(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Numbers of a layer's recurrent state."""
        number = self._number
        if value_heads := number("linear_num_value_heads"):  # gated delta net
            return value_heads * number("linear_key_head_dim") * number("linear_value_head_dim")
        settings = self._fields.get(f"{self._prefix}linear_attn_config")
        if isinstance(settings, Mapping):  # Kimi delta attention
            return int(settings["num_heads"]) * int(settings["head_dim"]) ** 2
        if heads := number("mamba_num_heads") or number("mamba_n_heads"):  # Mamba 2
            size = number("mamba_head_dim") or number("mamba_d_head")
            return heads * size * (number("ssm_state_size") or number("mamba_d_state"))
        for name, shape in shapes.items():
            if name.endswith("A_log"):  # Mamba: channels by states
                return (
                    math.prod(shape)
                    if len(shape) > 1
                    else shape[0] * number("state_size") * number("head_dim")
                )
            if name.endswith("recurrent_param"):  # RecurrentGemma's linear recurrent unit
                return shape[0]
        return 0

    def _number(self, name: str) -> int:
        value = self._fields.get(f"{self._prefix}{name}")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _self_attention(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    words = ("attn", "attention", "SelfAttention", "mixer", "self_attn")
    return {
        name: shape
        for name, shape in shapes.items()
        if any(word in name for word in words)
        and not any(word in name for word in (*_NOT_SELF, "linear_attn", "norm", "experts", "mlp"))
    }


def _height(own: Mapping[str, tuple[int, ...]], *endings: str) -> int:
    for ending in endings:
        for name, shape in own.items():
            whole = name == ending or name.endswith(f".{ending}")
            if whole and len(shape) == 2:  # noqa: PLR2004 - a matrix
                return shape[0]
    return 0
