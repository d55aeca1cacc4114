"""From token vectors to one vector per text, as sentence-transformers models describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import JsonValue
from torch import Tensor

from ...errors import DeclarationError

__all__ = ["Pooling", "pooling_from_json"]

_LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_KNOWN = ("mean", "cls", "lasttoken", "max")


@dataclass(frozen=True, slots=True)
class Pooling:
    """Which token vectors make the text's vector, and whether its length is set to one."""

    mode: str = "mean"
    normalize: bool = False

    def __call__(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Pool texts x tokens x width to texts x width, as float32."""
        pooled = _pool(self.mode, vectors.float(), mask)
        return torch.nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled


def pooling_from_json(config: JsonValue, *, normalize: bool) -> Pooling:
    """Read `1_Pooling/config.json`, in its older or newer form."""
    fields: Mapping[str, JsonValue] = config if isinstance(config, dict) else {}
    mode = fields.get("pooling_mode")
    if mode is None:
        active = [name for key, name in _LEGACY.items() if fields.get(key)] or ["mean"]
        mode = active[0] if len(active) == 1 else list[JsonValue](active)
    if mode not in _KNOWN:
        msg = (
            f"The model's pooling mode {mode!r} is not supported by modalkit's embedding engine; "
            f"it knows {', '.join(map(repr, _KNOWN))}. Serve this model from a custom service."
        )
        raise DeclarationError(msg)
    return Pooling(str(mode), normalize)


def _pool(mode: str, vectors: Tensor, mask: Tensor) -> Tensor:
    if mode == "mean":
        weights = mask.unsqueeze(-1).to(vectors.dtype)
        return (vectors * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
    if mode == "max":
        return vectors.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)
    numbers = torch.arange(mask.shape[1], device=mask.device)
    # Padding may be on either side, so the first and last tokens are looked for.
    if mode == "cls":
        place = torch.where(mask.bool(), numbers, mask.shape[1]).amin(dim=1)
    else:
        place = torch.where(mask.bool(), numbers, -1).amax(dim=1)
    rows = torch.arange(vectors.shape[0], device=vectors.device)
    return vectors[rows, place]
