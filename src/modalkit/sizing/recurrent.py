"""What a layer keeps of a sequence whatever its length: recurrent states and the inputs of convolutions.

A convolution keeps its last ``kernel - 1`` inputs in 16 bit. Which recurrence a layer has is told by
its parameters, so that a model may mix several; the size of its state is that of the cache of
transformers' class, in float32 as both engines keep it unless told otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .configs import Settings

__all__ = ["state_bytes"]

Shapes = Mapping[str, tuple[int, ...]]

RECURRENT_BYTES = 4
CONVOLUTION_BYTES = 2


def state_bytes(kind: str, shapes: Shapes, settings: Settings) -> int | None:
    """Return the bytes of a layer's state; 0 for a layer without one.

    Args:
        kind: The layer's kind, as the config names it.
        shapes: The layer's parameters by name.
        settings: The text model's settings.

    Returns:
        None for a recurrence this version does not know.
    """
    inputs = _convolution_inputs(shapes)
    for marker, numbers in _RECURRENCES.items():
        if any(marker in name for name in shapes):
            found = numbers(shapes, settings)
            return found * RECURRENT_BYTES + inputs * CONVOLUTION_BYTES if found else None
    if kind in {"linear_attention", "lightning_attention"}:
        found = _lightning(shapes, settings)
        return found * RECURRENT_BYTES if found else None
    if inputs or kind not in {"conv", "mamba", "mamba2", "recurrent"}:
        return inputs * CONVOLUTION_BYTES
    return None


def _convolution_inputs(shapes: Shapes) -> int:
    """Numbers that a layer's convolutions over time look back on."""
    inputs = 0
    for name, shape in shapes.items():
        if "conv" in name and name.endswith("weight") and len(shape) == 3:  # noqa: PLR2004
            inputs += shape[0] * (shape[-1] - 1)
        elif name.endswith("v_proj_delayed.weight"):  # ZAYA: half of each value is the last token's
            inputs += shape[0]
    return inputs


def _delta_net(_shapes: Shapes, settings: Settings) -> int:
    """Gated delta net (Qwen3-Next, Qwen3.5, OLMo-Hybrid): a key-by-value matrix for each value head."""
    key, value = settings.number("linear_key_head_dim"), settings.number("linear_value_head_dim")
    return settings.number("linear_num_value_heads") * key * value


def _kimi_delta(_shapes: Shapes, settings: Settings) -> int:
    """Kimi delta attention: a square matrix for each head."""
    given = settings.get("linear_attn_config")
    older = given if isinstance(given, Mapping) else {}
    heads = older.get("num_heads") or settings.number("linear_num_heads")
    size = older.get("head_dim") or settings.number("linear_head_dim")
    return int(heads) * int(size) ** 2


def _mamba(shapes: Shapes, settings: Settings) -> int:
    """Mamba 2: heads by their size by states; Mamba: channels by states."""
    if any(name.endswith(("in_proj_qkv.weight", "in_proj_qkvz.weight")) for name in shapes):
        return _delta_net(shapes, settings)
    if heads := settings.number("mamba_num_heads", "mamba_n_heads"):
        size = settings.number("mamba_head_dim", "mamba_d_head")
        return heads * size * settings.number("ssm_state_size", "mamba_d_state")
    shape = next(shape for name, shape in shapes.items() if name.endswith("A_log"))
    if len(shape) > 1:
        return math.prod(shape)
    return shape[0] * settings.number("state_size") * settings.number("head_dim")


def _linear_unit(shapes: Shapes, _settings: Settings) -> int:
    """RecurrentGemma's linear recurrent unit: one number a channel."""
    return next(shape[0] for name, shape in shapes.items() if name.endswith("recurrent_param"))


def _mlstm(shapes: Shapes, settings: Settings) -> int:
    """xLSTM: a key-by-value matrix, a key and a number for each head."""
    heads = settings.number("num_heads")
    key, value = (
        next(
            shape[0]
            for name, shape in shapes.items()
            if name.endswith(f"mlstm_layer.{part}.weight")
        )
        for part in ("k", "v")
    )
    return key * value // heads + key + heads if heads else 0


def _rwkv(shapes: Shapes, settings: Settings) -> int:
    """RWKV: the last input of two halves, a numerator, a denominator and a maximum."""
    width = next(shape[0] for name, shape in shapes.items() if name.endswith("time_decay"))
    return 2 * settings.number("hidden_size") + 3 * width


def _lightning(shapes: Shapes, settings: Settings) -> int:
    """Lightning attention (MiniMax-Text-01): a square matrix for each head."""
    if not any("qkv_proj" in name for name in shapes):
        return 0
    heads = settings.number("num_attention_heads")
    size = settings.number("head_dim") or settings.number("hidden_size") // max(1, heads)
    return heads * size**2


# The parameter that tells a recurrence; the first that a layer has counts.
_RECURRENCES: dict[str, Callable[[Shapes, Settings], int]] = {
    "mlstm_layer": _mlstm,
    "time_decay": _rwkv,
    "recurrent_param": _linear_unit,
    "forget_gate": _kimi_delta,
    "linear_attn": _delta_net,
    "A_log": _mamba,
}
