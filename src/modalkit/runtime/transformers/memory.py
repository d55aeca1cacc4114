"""How many tokens the key-value cache may hold."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import torch

from ...errors import DeclarationError
from .options import EngineOptions

__all__ = ["MemoryPlan", "free_bytes", "plan_memory"]

_LOG = logging.getLogger(__name__)
# The rest is for activations and for moving a layer's buffers to larger ones.
_SHARE_OF_GPU = 0.8
_SHARE_OF_HOST = 0.25


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What fits, in tokens."""

    context_length: int
    max_cells: int


def free_bytes(device: torch.device) -> int:
    """Memory that the cache may take on this device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _SHARE_OF_GPU)
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(available * _SHARE_OF_HOST)


def plan_memory(
    options: EngineOptions, model_context: int, bytes_per_token: int, budget_bytes: int
) -> MemoryPlan:
    """Fit context length and cache to each other.

    One sequence of full length always fits. A context length that was asked for is refused when
    it does not fit; one that nobody asked for is lowered.
    """
    affordable = options.max_kv_tokens or budget_bytes // max(bytes_per_token, 1)
    wanted = options.context_length or model_context
    if wanted > model_context:
        msg = (
            f"--context-length {wanted} is more than the {model_context} tokens the model "
            f"was made for. Write --context-length {model_context} or less."
        )
        raise DeclarationError(msg)
    if wanted + 1 > affordable:
        wanted = _lowered(options, wanted, affordable)
    most = options.max_batch_size * (wanted + 1)
    return MemoryPlan(wanted, min(most, affordable))


def _lowered(options: EngineOptions, wanted: int, affordable: int) -> int:
    fits = affordable - 1
    if options.context_length is not None or fits < 1:
        msg = (
            f"A context of {wanted} tokens needs a key-value cache of {wanted + 1}, but only "
            f"{affordable} fit. Write --context-length {max(fits, 1)}, or raise --max-kv-tokens "
            "if the device has more memory."
        )
        raise DeclarationError(msg)
    _LOG.warning(
        "Memory holds %d tokens: the context length is %d, not %d.", affordable, fits, wanted
    )
    return fits
