"""A LoRA adapter for small-chat with random weights, large enough to change every answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

__all__ = ["make_adapter"]


def make_adapter(folder: Path, seed: int, base: str = "/models/small-chat") -> None:
    """Write an adapter whose configuration says that it was made for ``base``."""
    folder.mkdir(parents=True)
    numbers, rank, width = np.random.default_rng(seed), 8, 128
    weights = {
        f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{half}.weight": (
            numbers.standard_normal((rank, width) if half == "A" else (width, rank)) * 3
        ).astype(np.float32)
        for layer in range(2)
        for half in "AB"
    }
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
