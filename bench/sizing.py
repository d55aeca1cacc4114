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

from modalkit.errors import SizingError
from modalkit.sizing.configs import Config
from modalkit.sizing.fit import Pick, examine, picks
from modalkit.sizing.layouts import architecture, parameters
from modalkit.sizing.memory import Load, Split, cache_per_gpu
from modalkit.sizing.model import ModelFacts, model_facts
from modalkit.sizing.module_names import is_tower
from modalkit.sizing.report import default_load, parse_choice, size

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "tests" / "sizing" / "models.json"
RESULTS = Path(__file__).parent / "results" / "sizing.md"
ONE_REQUEST = Load(2048, 1)  # published setups name no load
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


def config_of(model: dict[str, Any]) -> dict[str, Any]:
    """The ``config.json`` of a listed model."""
    config = dict(model["config"])
    raw = {"text_config": config} if model["nested"] else config
    raw |= {"model_type": model["model_type"], "dtype": model["dtype"], **model.get("towers", {})}
    raw["tie_word_embeddings"] = config.get("tie_word_embeddings", False)
    return raw | {"quantization_config": model.get("quantization_config")}


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


@dataclass(frozen=True)
class Setup:
    """What somebody published as working, and what sizing says.

    Attributes:
        name: The model and its precision.
        published: The cheapest of what was published, as Modal writes it.
        usd: Its price an hour.
        problems: What sizing finds wrong with anything that was published.
        picked: The cheapest that sizing finds for the same request.
        picked_usd: Its price an hour.
        steps: Prices of the catalogue's choices above the published one, up to the picked one.
        steps_in_use: The same where it must hold 8 requests of 8,192 tokens.
    """

    name: str
    published: str
    usd: float
    problems: tuple[str, ...]
    picked: str
    picked_usd: float
    steps: int
    steps_in_use: int


def setups(models: list[dict[str, Any]]) -> list[Setup]:
    """Every model with published setups, at each precision that they name."""
    return [
        setup_of(model, precision)
        for model in models
        for precision in sorted({one["precision"] for one in model.get("setups", ())})
    ]


def setup_of(model: dict[str, Any], precision: str) -> Setup:
    """Hold one model's published setups against what sizing picks."""
    own = (model.get("quantization_config") or {}).get("quant_method")
    chosen = model.get("quantization_config") if own == precision else PRECISIONS[precision]
    facts = model_facts(config_of(model) | {"quantization_config": chosen}, name=model["id"])
    named = [one for one in model["setups"] if one["precision"] == precision]
    engine = "sglang" if all(one.get("engine") for one in named) else "vllm"
    tried = [
        examine(facts, ONE_REQUEST, engine, parse_choice(f"{one['gpu']}:{one['count']}"))
        for one in named
    ]
    cheapest = min(tried, key=lambda one: one.usd_per_hour)
    best, steps = dearer(picks(facts, ONE_REQUEST, engine), cheapest.usd_per_hour)
    _, in_use = dearer(picks(facts, default_load(facts), engine), cheapest.usd_per_hour)
    return Setup(
        f"{model['id']} {precision}",
        cheapest.selection,
        cheapest.usd_per_hour,
        tuple(f"{one.selection} {one.problem}" for one in tried if one.problem),
        best.selection,
        best.usd_per_hour,
        steps,
        in_use,
    )


def dearer(found: list[Pick], usd: float) -> tuple[Pick, int]:
    """The cheapest that fits, and how many prices it is above another."""
    best = next(one for one in found if not one.problem)
    return best, len(
        {one.usd_per_hour for one in found if usd < one.usd_per_hour <= best.usd_per_hour}
    )


def report(rows: list[Row], taken: list[float], published: list[Setup]) -> str:
    whole = [clock(lambda: size(model_facts(LLAMA))) for _ in range(9)]
    counted, stored = [row.ours for row in rows], of_published(rows, "our_bytes")
    fitting = sum(not one.problems for one in published)
    near = sum(one.steps <= 1 for one in published)
    in_use = sum(one.steps_in_use <= 1 for one in published)
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
        f"| every published setup fits | {fitting} of {len(published)}; the rest below |",
        f"| the pick at most one step dearer than the published, 90 % | {near} of {len(published)} |",
        f"| the same where the pick must hold 8 requests of 8,192 tokens | {in_use} of {len(published)} |",
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
        "## Published setups",
        "",
        "The cheapest that was published (vLLM's recipes, SGLang's cookbook; what Modal has, on one",
        "machine), held to a request of 2,048 tokens, and what sizing picks for the same.",
        "A step is the next dearer price among the catalogue's types and counts.",
        "",
        "| model | published | USD/hour | picked | USD/hour | steps dearer | said not to fit |",
        "|---|---|--:|---|--:|--:|---|",
        *(setup_row(one) for one in published),
        "",
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


PRECISIONS: dict[str, Any] = {
    "bf16": None,
    "fp8": {"quant_method": "fp8"},
    "nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["*self_attn*"]},
}


def within(ratios: list[float | None], off: float) -> int:
    return sum(ratio is not None and abs(ratio - 1) <= off for ratio in ratios)


def setup_row(one: Setup) -> str:
    prices = f"{one.usd:.2f} | {one.picked} | {one.picked_usd:.2f}"
    return f"| {one.name} | {one.published} | {prices} | {one.steps} | {'; '.join(one.problems)} |"


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
