"""How exact sizing is, beside hf-mem and accelerate, and how long it takes.

    python bench/sizing.py                  # print
    python bench/sizing.py --write          # write bench/results/sizing.md too

The models are those of ``tests/sizing/models.json``: configs of real models with the parameters that
their class has and, where it was published, the bytes of their files. Nothing is downloaded: each
estimator gets the same ``config.json``. hf-mem and accelerate are used where they are installed
(``pip install hf-mem accelerate torch transformers``) and left out where they are not:

* accelerate's ``estimate-memory`` builds the transformers class on the meta device and adds its
  parameters up; its own functions are called here with the config instead of a name on the hub. It knows
  no KV cache and no quantisation, so its bytes are parameters times two.
* Where a listing leaves a vision tower's settings out, the text model alone is compared.
* hf-mem reads weights from safetensors headers, which a config has none of; only its KV cache is compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from published_setups import Setup, config_of, goals, sections, setups

from modalkit.errors import SizingError
from modalkit.sizing.configs import Config
from modalkit.sizing.layouts import architecture, parameters
from modalkit.sizing.memory import Load, Split, cache_per_gpu
from modalkit.sizing.model import ModelFacts, model_facts
from modalkit.sizing.module_names import is_tower
from modalkit.sizing.report import size

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "tests" / "sizing" / "models.json"
RESULTS = Path(__file__).parent / "results" / "sizing.md"
WINDOW = 8192  # tokens of context that KV caches are compared at


@dataclass(frozen=True)
class Row:
    """One model: what each estimator says over what is known, as a ratio; None where it says nothing."""

    name: str
    ours: float | None
    accelerate: float | None
    our_bytes: float | None
    accelerate_bytes: float | None
    hf_mem_cache: float | None


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = arguments.parse_args()
    warnings.filterwarnings("ignore")
    listed = json.loads(MODELS.read_text("utf-8"))
    models = [model for model in listed if "parameters" in model]
    rows = [row_of(model) for model in models]
    text = report(rows, times(models), setups(models))
    print(text)
    if options.write:
        RESULTS.write_text(text, "utf-8")
    return 0


def row_of(model: dict[str, Any]) -> Row:
    facts = attempt(lambda: model_facts(config_of(model), name=model["id"]))
    built = accelerate_parameters(model)
    stored = model.get("stored_bytes") or model.get("stored_gib", 0) * 1024**3
    known = model["parameters"] - (model.get("vision_parameters") or 0)
    ours = facts and facts.total_parameters
    if ours and model.get("vision_parameters"):
        ours -= tower_parameters(model)
    return Row(
        model["id"],
        ours / known if ours else None,
        built / known if built else None,
        (facts.weight_bytes + facts.extra_stored_bytes) / stored if facts and stored else None,
        2 * built / stored if built and stored else None,
        cache_ratio(model, facts),
    )


def tower_parameters(model: dict[str, Any]) -> int:
    """Parameters of the tower that stands in where the listing leaves a model's own out."""
    layout = architecture(model["model_type"])
    config = Config.read(config_of(model), layout)
    return sum(one.elements for one in parameters(layout, config.fields) if is_tower(one.name))


def attempt(size_it: Callable[[], ModelFacts]) -> ModelFacts | None:
    try:
        return size_it()
    except SizingError:
        return None


def accelerate_parameters(model: dict[str, Any]) -> int | None:
    """What accelerate's estimate counts: the class on the meta device, every parameter in 4 bytes."""
    if not all(map(importlib.util.find_spec, ("accelerate", "transformers", "torch"))):
        return None
    import torch
    import transformers
    from accelerate.utils import calculate_maximum_sizes

    raw = {**config_of(model), "quantization_config": None}
    try:
        config = transformers.AutoConfig.for_model(
            **{k: v for k, v in raw.items() if v is not None}
        )
        text = getattr(config, "text_config", config) if model["nested"] else config
        with torch.device("meta"):  # its own context makes each tensor first, and takes minutes
            built = transformers.AutoModelForCausalLM.from_config(text, dtype=torch.float32)
        built.tie_weights()
        total, _ = calculate_maximum_sizes(built)
    except Exception as error:  # noqa: BLE001 - whatever it cannot build is a miss of its
        print(f"accelerate: {model['id']}: {type(error).__name__}", file=sys.stderr)
        return None
    return int(total) // 4


def cache_ratio(model: dict[str, Any], facts: ModelFacts | None) -> float | None:
    """hf-mem's KV cache of one request over ours; ours is held to each family's formula by the tests."""
    if facts is None or importlib.util.find_spec("hf_mem") is None:
        return None
    from hf_mem.safetensors.kv_cache import compute_safetensors_kv_cache_size

    ours = cache_per_gpu(facts, Load(WINDOW, 1, batched_tokens=0), Split())
    try:
        theirs = compute_safetensors_kv_cache_size(model["config"], "BF16", WINDOW)
    except Exception as error:  # noqa: BLE001 - as above
        print(f"hf-mem: {model['id']}: {type(error).__name__}", file=sys.stderr)
        return None
    return theirs / ours if ours else None


def times(models: list[dict[str, Any]]) -> list[float]:
    """Milliseconds to size each model, architecture files already read, least of five."""
    taken = []
    for model in models:
        raw = config_of(model)
        facts = attempt(lambda raw=raw: model_facts(raw))
        if facts is not None:
            taken.append(min(clock(lambda raw=raw: model_facts(raw)) for _ in range(5)))
    return taken


def clock(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def report(rows: list[Row], taken: list[float], published: list[Setup]) -> str:
    whole = [clock(lambda: size(model_facts(LLAMA))) for _ in range(9)]
    counted, stored = [row.ours for row in rows], of_published(rows, "our_bytes")
    lines = [
        "# Sizing: how exact, how fast",
        "",
        f"`python bench/sizing.py --write`, {datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.1f}.",
        f"{len(rows)} models of `tests/sizing/models.json`; a ratio of 1.00 is exact.",
        "",
        "## Against the goals",
        "",
        "| goal | measured |",
        "|---|---|",
        f"| parameters within 1 % on 97 % | {within(counted, 0.01)} of {len(counted)} |",
        f"| bytes of files within 2 % on 95 % | {within(stored, 0.02)} of {len(stored)} |",
        *goals(published),
        f"| one model under 2 ms | {statistics.median(taken):.2f} ms, slowest {max(taken):.2f} ms |",
        f"| the same with every GPU examined, Llama 70B | {min(whole):.2f} ms |",
        "",
        "## Beside other estimators",
        "",
        "| | models | within 1 % | within 2 % | none |",
        "|---|--:|--:|--:|--:|",
        share("parameters, modalkit", [row.ours for row in rows]),
        share("parameters, accelerate", [row.accelerate for row in rows]),
        share("bytes of files, modalkit", of_published(rows, "our_bytes")),
        share("bytes of files, accelerate x 2 bytes", of_published(rows, "accelerate_bytes")),
        share("KV cache at 8,192 tokens, hf-mem over modalkit", [row.hf_mem_cache for row in rows]),
        "",
        "`none`: the estimator refuses the config.",
        "",
        "| model | parameters | accelerate | bytes | accelerate | KV cache of hf-mem |",
        "|---|--:|--:|--:|--:|--:|",
        *(table_row(row) for row in rows),
        "",
        *sections(published),
    ]
    return "\n".join(lines)


LLAMA = {
    "model_type": "llama",
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "intermediate_size": 28672,
    "vocab_size": 128256,
}


def within(ratios: list[float | None], off: float) -> int:
    return sum(ratio is not None and abs(ratio - 1) <= off for ratio in ratios)


def of_published(rows: list[Row], field: str) -> list[float | None]:
    return [getattr(row, field) for row in rows if row.our_bytes or row.accelerate_bytes]


def share(title: str, ratios: list[float | None]) -> str:
    said = [ratio for ratio in ratios if ratio is not None]
    close = [within(ratios, off) for off in (0.01, 0.02)]
    return f"| {title} | {len(ratios)} | {close[0]} | {close[1]} | {len(ratios) - len(said)} |"


def table_row(row: Row) -> str:
    values = (row.ours, row.accelerate, row.our_bytes, row.accelerate_bytes, row.hf_mem_cache)
    return f"| {row.name} | {' | '.join('' if value is None else f'{value:.3f}' for value in values)} |"


if __name__ == "__main__":
    raise SystemExit(main())
