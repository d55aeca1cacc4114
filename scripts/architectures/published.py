"""Where published checkpoints, and the engines that read them, hold something else than the class."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["as_published"]

# T5 1.1, mT5 and UMT5 say that their head is no embedding, and store one. The class ties the two whatever
# the config says, and its loader leaves both where both are stored and differ.
_OWN_HEAD = {"t5", "mt5", "umt5"}
_HEAD = {"name": "lm_head.weight", "shape": ["vocab_size", "d_model"]}
# Experts that pass their input on have no weights; the class makes room for them in one of two tensors.
_NO_WEIGHTS = {"longcat_flash": "zero_expert_num"}


def as_published(file: dict[str, Any]) -> dict[str, Any]:
    """Return an architecture's file, read from its class, as its checkpoints are."""
    model_type = file["model_type"]
    if model_type in _OWN_HEAD:
        head = {**_HEAD, "when": {"tie_word_embeddings": False}}
        return {**file, "rows": [*file["rows"], head]}
    if (count := _NO_WEIGHTS.get(model_type)) is not None:
        rows = json.dumps(file["rows"])
        name = '"mlp.experts.gate_up_proj", "shape": ["'
        return {
            **file,
            "rows": json.loads(
                rows.replace(f"{name}(n_routed_experts + {count})", f"{name}n_routed_experts")
            ),
        }
    return file
