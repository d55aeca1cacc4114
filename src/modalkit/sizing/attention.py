"""What an attention keeps for a token, read off the shapes of its projections.

A key and a value are as wide as ``k_proj`` and ``v_proj`` are tall, so grouped, multi-query and
odd-sized heads need no rule of their own. Multi-head latent attention keeps ``kv_lora_rank +
qk_rope_head_dim`` numbers on every rank (DeepSeek-V2, section 2.1.2, and vLLM's MLA backend); a
lightning indexer one key of ``index_head_dim`` in fp8 and its 4-byte scale (DeepSeek-V3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .configs import Settings

__all__ = ["Kept", "kept_per_token"]

Shapes = Mapping[str, tuple[int, ...]]

INDEXER_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """What one attention keeps for a token.

    Attributes:
        elements: Numbers in the cache's type; 0 where it reads an earlier layer's.
        heads: Heads they spread over; 1 for a latent that is kept whole.
        index_bytes: Bytes of a sparse attention's index key.
        latent: Whether they are a compressed latent, from which keys and values are made.
    """

    elements: int
    heads: int
    index_bytes: int = 0
    latent: bool = False


_ATTENTIONS = ("attn", "attention", "Attention", "mixer", "self_att", "temporal_block")
_CROSS = (
    "cross_attn",
    "cross_attention",
    "encoder_attn",
    "crossattention",
    "EncDecAttention",
    "encoder_decoder_attention",
)
_NOT_ATTENTION = ("indexer", "compressor", "linear_attn", "norm", "experts", "mlp", "sconv")
_KEYS = (
    "k_proj.weight",
    "key.weight",
    "k_lin.weight",
    "Attention.k.weight",
    "k_proj.linear.weight",
    "key_proj.weight",
    "Wk.weight",
    "project_k.weight",
    "k.weight",
)
_VALUES = tuple(
    name.replace("k_", "v_")
    .replace("_k", "_v")
    .replace("key", "value")
    .replace(".k.", ".v.")
    .replace("Wk", "Wv")
    .replace("k.weight", "v.weight")
    for name in _KEYS
)
# Keys and values in one projection: JetMoE stacks them, DeepSeek-V4 uses one for both.
_KEYS_AND_VALUES = ("kv_proj.weight", "wkv.weight")
_FUSED = ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "qkv", "attn.qkv_proj", "in_proj_qkv")
_OUTPUTS = ("o_proj", "dense", "c_proj", "Wo", "out_proj", "proj")


def kept_per_token(shapes: Shapes, settings: Settings, *, cross: bool = False) -> Kept | None:
    """Return what a layer's attention keeps for a token.

    Args:
        shapes: The layer's parameters by name.
        settings: The text model's settings.
        cross: Its attention over an encoder's tokens instead of its own.

    Returns:
        None where the layer has no attention, or none this version knows.
    """
    own = _attention(shapes, cross=cross)
    if not own:
        return None
    index = 0 if cross else _index_bytes(shapes, settings)
    for name, shape in own.items():
        if "kv_a_proj" in name and len(shape) > 1:
            return Kept(shape[0], 1, index, latent=True)
    if keys := _rows(own, _KEYS):
        values = _rows(own, _VALUES) or keys
        return Kept(keys + values, _heads(keys, settings), index)
    if both := _rows(own, _KEYS_AND_VALUES):
        return Kept(both, _heads(both, settings), index)
    if fused := _fused(own, settings):
        return Kept(fused, _heads(fused // 2, settings), index)
    reads_another = any(name.split(".")[-2:-1] == ["q_proj"] for name in own)
    return Kept(0, 1) if reads_another else None


def _attention(shapes: Shapes, *, cross: bool) -> dict[str, tuple[int, ...]]:
    """The parameters of one of a layer's attentions; RWKV's bears the name only."""
    if any("time_decay" in name for name in shapes):
        return {}
    return {
        name: shape
        for name, shape in shapes.items()
        if any(word in name for word in _ATTENTIONS)
        and not any(word in name for word in _NOT_ATTENTION)
        and any(word in name for word in _CROSS) is cross
    }


def _fused(own: Shapes, settings: Settings) -> int:
    """What is left of a fused projection when the queries, as wide as the output takes, are gone.

    GPT-2's attention over an encoder has its queries in a projection of their own, ``q_attn``.
    """
    apart = any(path.endswith("q_attn.weight") for path in own)
    for name in _FUSED:
        for path, shape in own.items():
            if path.endswith((f"{name}.weight", f"{name}.linear.weight")):
                both = max(shape) if name == "c_attn" else shape[0]
                return both if apart else both - _queries(own, settings)
    return 0


def _queries(own: Shapes, settings: Settings) -> int:
    for name in _OUTPUTS:
        for path, shape in own.items():
            if path.endswith(f".{name}.weight") and len(shape) == 2 and "mlp" not in path:  # noqa: PLR2004
                return shape[0] if name == "c_proj" else shape[1]
    return settings.number("hidden_size")


def _heads(width: int, settings: Settings) -> int:
    size = settings.number("head_dim") or settings.number("d_kv")
    if not size and (heads := settings.number("num_attention_heads")):
        size = settings.number("hidden_size") // heads
    return max(1, width // size) if size else 1


def _index_bytes(shapes: Shapes, settings: Settings) -> int:
    """A sparse attention's index key: fp8, with a scale."""
    if not any("indexer" in name for name in shapes):
        return 0
    size = settings.number("index_head_dim") or 128  # DeepseekV32Config's default
    return size + INDEXER_SCALE_BYTES


def _rows(own: Shapes, endings: tuple[str, ...]) -> int:
    """Rows of the first matrix with one of these names."""
    for ending in endings:
        for name, shape in own.items():
            whole = name == ending or name.endswith(f".{ending}")
            if whole and len(shape) == 2:  # noqa: PLR2004 - a matrix
                return shape[0]
    return 0
