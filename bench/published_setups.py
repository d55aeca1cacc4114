"""Setups that somebody published as working, held against what sizing says of each.

Each is sized with the engine that its publisher names (vLLM where a recipe names none), at that engine's
defaults. It fits so; or with a larger share of the card, which sizing then names; or it is one of the claims
that something besides sizing tells to be impossible. Everything else that sizing refuses is a miss of sizing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modalkit.sizing.facts import GIB, ModelFacts
from modalkit.sizing.fit import Pick, examine, picks
from modalkit.sizing.memory import EngineName, Load, Serving, weights_per_gpu
from modalkit.sizing.model import model_facts
from modalkit.sizing.report import default_load, parse_choice

__all__ = ["Setup", "config_of", "goals", "sections", "setups"]

ONE_REQUEST = Load(2048, 1)  # published setups name no load
PRECISIONS: dict[str, Any] = {
    "bf16": None,
    "fp8": {"quant_method": "fp8"},
    "nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["*self_attn*"]},
}
# Claims that are known to be impossible by another source than sizing, each by model, precision and choice.
IMPOSSIBLE = {
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "fp8", "H100"): (
        '`models/meta-llama/Llama-4-Scout-17B-16E-Instruct.yaml` of vLLM\'s recipes ("fits on 1x H100") asks for '
        "131 GB itself (`vram_minimum_gb: 131`)"
    ),
}


@dataclass(frozen=True)
class Tried:
    """One published choice of GPUs, with one engine.

    Attributes:
        engine: Which one.
        pick: What sizing says of it.
        weights: Bytes of them on a GPU.
        against: What tells the claim to be impossible; empty for all others, whatever sizing says.
    """

    engine: EngineName
    pick: Pick
    weights: int
    against: str

    @property
    def is_impossible(self) -> bool:
        """Whether another source tells it to be."""
        return bool(self.against)

    @property
    def verdict(self) -> str:
        """What sizing says against it; empty where it fits as it was published."""
        name = f"{self.pick.selection} with {self.engine}"
        if self.is_impossible:
            return f"{name}: impossible"
        return f"{name}: {self.pick.problem}" if self.pick.problem else ""


@dataclass(frozen=True)
class Setup:
    """What was published of a model at one precision, and what sizing says.

    Attributes:
        name: The model and its precision.
        tried: Everything that was published, the cheapest first.
        picked: The cheapest that sizing finds for the same request.
        steps: Prices of the catalogue's choices above the cheapest that is possible, up to the picked one.
        steps_in_use: The same where it must hold 8 requests of 8,192 tokens.
        with_share: Of those that do not fit as published: how many do with the share that sizing names.
    """

    name: str
    tried: tuple[Tried, ...]
    picked: Pick
    steps: int
    steps_in_use: int
    with_share: int

    @property
    def cheapest(self) -> Pick:
        """The cheapest that was published and is possible."""
        return next(one.pick for one in self.tried if not one.is_impossible)


def config_of(model: dict[str, Any]) -> dict[str, Any]:
    """The ``config.json`` of a listed model."""
    config = dict(model["config"])
    raw = {"text_config": config} if model["nested"] else config
    raw |= {"model_type": model["model_type"], "dtype": model["dtype"], **model.get("towers", {})}
    raw["tie_word_embeddings"] = config.get("tie_word_embeddings", False)
    return raw | {"quantization_config": model.get("quantization_config")}


def setups(models: list[dict[str, Any]]) -> list[Setup]:
    """Every model with published setups, at each precision that they name."""
    return [
        _setup_of(model, precision)
        for model in models
        for precision in sorted({one["precision"] for one in model.get("setups", ())})
    ]


def _setup_of(model: dict[str, Any], precision: str) -> Setup:
    own = (model.get("quantization_config") or {}).get("quant_method")
    chosen = model.get("quantization_config") if own == precision else PRECISIONS[precision]
    facts = model_facts(config_of(model) | {"quantization_config": chosen}, name=model["id"])
    named = [one for one in model["setups"] if one["precision"] == precision]
    tried = sorted((_tried(facts, one) for one in named), key=lambda one: one.pick.usd_per_hour)
    engine = "sglang" if all(one.get("engine") for one in named) else "vllm"
    usd = next(one.pick.usd_per_hour for one in tried if not one.is_impossible)
    best, steps = _dearer(picks(facts, ONE_REQUEST, engine), usd)
    _, in_use = _dearer(picks(facts, default_load(facts), engine), usd)
    return Setup(
        f"{model['id']} {precision}",
        tuple(tried),
        best,
        steps,
        in_use,
        sum(_fits_with_share(facts, one) for one in tried),
    )


def _tried(facts: ModelFacts, published: dict[str, Any]) -> Tried:
    engine = published.get("engine", "vllm")
    choice = parse_choice(f"{published['gpu']}:{published['count']}")
    pick = examine(facts, ONE_REQUEST, engine, choice)
    against = IMPOSSIBLE.get((facts.name, published["precision"], pick.selection), "")
    return Tried(engine, pick, weights_per_gpu(facts, pick.split, engine), against)


def _fits_with_share(facts: ModelFacts, one: Tried) -> bool:
    """Whether the share that sizing names for what does not fit, and is not impossible, makes it fit."""
    if one.is_impossible or one.pick.memory_fraction is None:
        return False
    told = Serving(one.engine, memory_fraction=one.pick.memory_fraction)
    return not examine(facts, ONE_REQUEST, told, (one.pick.gpu, one.pick.count)).problem


def _dearer(found: list[Pick], usd: float) -> tuple[Pick, int]:
    """The cheapest that fits, and how many prices it is above another."""
    best = next(one for one in found if not one.problem)
    return best, len(
        {one.usd_per_hour for one in found if usd < one.usd_per_hour <= best.usd_per_hour}
    )


def goals(published: list[Setup]) -> list[str]:
    """The rows of the table of goals."""
    tried = [one for setup in published for one in setup.tried]
    impossible = sum(one.is_impossible for one in tried)
    possible = len(tried) - impossible
    fitting = sum(not (one.pick.problem or one.is_impossible) for one in tried)
    with_share = sum(one.with_share for one in published)
    refused = sum(bool(one.pick.problem) for one in tried if one.is_impossible)
    rows = len(published)
    near = sum(one.steps <= 1 for one in published)
    in_use = sum(one.steps_in_use <= 1 for one in published)
    return [
        (
            f"| every published setup fits | {fitting + with_share} of {possible}: {fitting} as published, "
            f"{with_share} with the `memory_fraction` that sizing names |"
        ),
        f"| no published impossible one does | {refused} of {impossible} refused |",
        f"| the pick at most one step dearer than the published, 90 % | {near} of {rows} |",
        f"| the same where the pick must hold 8 requests of 8,192 tokens | {in_use} of {rows} |",
    ]


def sections(published: list[Setup]) -> list[str]:
    """What the page says of published setups, line by line."""
    tried = sum(len(one.tried) for one in published)
    return [
        "## Published setups",
        "",
        f"{tried} setups (vLLM's recipes, SGLang's cookbook; what Modal has, on one machine), each with its own",
        "engine at its defaults, held to a request of 2,048 tokens. Beside the cheapest of each model stands what",
        "sizing picks for the same request. The cookbook names no flags for Qwen3-VL-32B (`extra_args: []`).",
        "A step is the next dearer price among the catalogue's types and counts.",
        "",
        "| model | published | USD/hour | picked | USD/hour | steps dearer | said not to fit as published |",
        "|---|---|--:|---|--:|--:|---|",
        *(_row(one) for one in published),
        "",
        "## Published, impossible",
        "",
        "Claims that another source than sizing tells to be impossible, by name; all others count above.",
        "",
        "| model | published | weights on a GPU | the GPU has | told by |",
        "|---|---|--:|--:|---|",
        *(line for one in published for line in _impossible(one)),
        "",
    ]


def _row(one: Setup) -> str:
    usd = one.cheapest.usd_per_hour
    prices = f"{usd:.2f} | {one.picked.selection} | {one.picked.usd_per_hour:.2f}"
    against = "; ".join(tried.verdict for tried in one.tried if tried.verdict)
    return f"| {one.name} | {one.cheapest.selection} | {prices} | {one.steps} | {against} |"


def _impossible(setup: Setup) -> Iterator[str]:
    for one in setup.tried:
        if one.is_impossible:
            weights, card = one.weights / GIB, one.pick.gpu.total_gib
            yield f"| {setup.name} | {one.pick.selection} | {weights:.1f} GiB | {card:.1f} GiB | {one.against} |"
