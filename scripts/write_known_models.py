"""Write data/known_models.json: the configs of published models that `modalkit check` sizes by their name.

The source is tests/sizing/models.json, whose counts are held against the real classes; models of which
only a part of the config is published (towers, other text models) are left out.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "tests" / "sizing" / "models.json"
KNOWN = ROOT / "src" / "modalkit" / "data" / "known_models.json"
READ_ON = "2026-11-21"
# Repositories with the weights of another shape-for-shape: instruction-tuned and renamed ones.
SAME = {
    "meta-llama/Meta-Llama-3.1-8B": (
        "meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct",
        "meta-llama/Meta-Llama-3.1-8B-Instruct",
    ),
    "meta-llama/Meta-Llama-3.1-70B": (
        "meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.1-70B-Instruct",
        "meta-llama/Meta-Llama-3.1-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct",
    ),
    "meta-llama/Meta-Llama-3.1-405B": (
        "meta-llama/Llama-3.1-405B", "meta-llama/Llama-3.1-405B-Instruct",
        "meta-llama/Meta-Llama-3.1-405B-Instruct",
    ),
    "mistralai/Mixtral-8x7B-v0.1": ("mistralai/Mixtral-8x7B-Instruct-v0.1",),
}  # fmt: skip
# Those copies of the config say less of the weights than the publisher's: the numbers would be wrong.
INCOMPLETE = {"zai-org/GLM-4.7-FP8"}  # no quantization_config, so that fp8 would read as bfloat16


def known_models() -> dict[str, object]:
    """Return what the file holds."""
    listed = json.loads(MODELS.read_text("utf-8"))
    whole = [one for one in listed if "parameters" in one and not one["nested"]]
    models = [_entry(one) for one in whole if one["id"] not in INCOMPLETE]
    note = "config.json as published, the fields that sizing reads; names in small letters"
    return {"read_on": READ_ON, "note": note, "models": models}


def _entry(model: dict[str, object]) -> dict[str, object]:
    name, config = str(model["id"]), model["config"]
    assert isinstance(config, dict)
    own = {"model_type": model["model_type"], "dtype": model["dtype"], **config}
    own["tie_word_embeddings"] = config.get("tie_word_embeddings", False)
    if model.get("quantization_config"):
        own["quantization_config"] = model["quantization_config"]
    names = [one.lower() for one in (name, *SAME.get(name, ()))]
    return {"names": names, "config": own, "source": model["source"]}


def main() -> None:
    """Write it."""
    text = json.dumps(known_models(), indent=1, ensure_ascii=False)
    KNOWN.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
