"""The names that a model's weights go by, so that what is locked is what is fetched."""

from __future__ import annotations

__all__ = ["WEIGHT_FILES"]

WEIGHT_FILES = (
    "model.safetensors",
    "consolidated.safetensors",  # Mistral's own format
    "pytorch_model.bin",
)
"""Where a model's weights are, in the order engines look for them.

A repository often holds several of them, with the same weights; the first that is there counts. Before
each its index is looked for, ``model.safetensors.index.json``, which names the files of its shards.
"""
