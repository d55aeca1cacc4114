"""What SGLang keeps for caches beyond what a load needs: its pools have fixed proportions.

Read in SGLang 0.5.23. A hybrid model's states and tokens share what is left of the card as 0.9 to 1, and a
running request has five states (``kv_cache_configurator.py``). Where sliding layers have a pool of their
own it has 0.8 times the tokens of the full one; where they have none (Gemma 2 and 3, Cohere, OLMo 3) they
keep every token as the full ones do (``pool_configurator.py``).
"""

from __future__ import annotations

import math
from dataclasses import replace

from .cache_layer import CacheLayer, Keeps
from .facts import ModelFacts
from .holdings import Stage, cache_on, cached_bytes, layers_on, state_on, token_bytes
from .lines import Line
from .load import Load, Split
from .serving import Serving

__all__ = ["pool_lines"]

_STATES_TO_TOKENS = 0.9  # --mamba-full-memory-ratio
_STATES = 5  # of a running request: its own, those of its beginning, those being written
_WINDOWS = 0.8  # --swa-full-tokens-ratio
_PAGE = 64  # tokens beyond its window that a request may hold
_SLIDING = {Keeps.WINDOW, Keeps.CHUNK}
# Model types whose sliding layers have a pool of their own (`is_hybrid_swa_model`), by their beginnings.
_TWO_POOLS = (
    *("gpt_oss", "granite_swa", "granitemoe_swa", "llama4", "mimo_v2", "step3p", "gemma4"),
    *("laguna", "mellum", "muse_glimmer", "inkling", "beam", "unlimited_ocr"),
)
_OTHER_POOLS = ("deepseek_v4",)  # pools of every ratio, which are not worked out here

_Layers = tuple[tuple[CacheLayer, int], ...]


def pool_lines(
    model: ModelFacts, load: Load, split: Split, stage: Stage, served: Serving
) -> list[Line]:
    """Return what SGLang's pools have beyond the cache and the states of a load; nothing for other engines.

    Args:
        model: The model.
        load: What it must bear.
        split: How it is spread.
        stage: The stage of its pipeline.
        served: The engine, and what it was told.
    """
    if served.engine != "sglang" or model.model_type.startswith(_OTHER_POOLS):
        return []
    windows = _windows(model, load, split, layers_on(model, stage))
    tokens = cache_on(model, load, split, stage) + windows.bytes
    one = state_on(model, replace(load, concurrency=1), split, stage)
    counted = state_on(model, load, split, stage)
    states = _states(one, counted, tokens, _requests(load, split), served)
    return [line for line in (windows, states) if line.bytes]


def _requests(load: Load, split: Split) -> int:
    return math.ceil(load.concurrency / split.data)


def _windows(model: ModelFacts, load: Load, split: Split, layers: _Layers) -> Line:
    """What sliding layers keep beyond their windows."""
    sliding = [(one, count) for one, count in layers if one.keeps in _SLIDING]
    full = [(one, count) for one, count in layers if one.keeps is Keeps.ALL]
    own, whole = (
        sum(count * token_bytes(one, load, split) for one, count in kind)
        for kind in (sliding, full)
    )
    tokens = _requests(load, split) * load.context
    if whole and model.model_type.startswith(_TWO_POOLS):
        window = max((one.window for one, _ in sliding), default=0)
        read = _requests(load, split) * min(load.context, window + _PAGE) + load.batched_tokens
        held = max(tokens, math.ceil(min(tokens, read) / _WINDOWS))
        pool = held * (whole + _WINDOWS * own)
        formula = f"a pool of {_WINDOWS:g} x {held:,} tokens for sliding layers, less the cache"
    else:
        pool = tokens * (whole + own)
        formula = f"sliding layers keep all {tokens:,} tokens, less the cache"
    counted = sum(cached_bytes(one, count, load, split) for one, count in (*sliding, *full))
    beyond = max(0, math.ceil(pool) - counted) if sliding else 0
    return Line("beyond windows", beyond, "SGLang 0.5.23, pool_configurator.py", formula)


def _states(one: int, counted: int, tokens: int, requests: int, served: Serving) -> Line:
    """What the states have beyond one for each request, and what the proportion leaves unused."""
    source = "SGLang 0.5.23, kv_cache_configurator.py"
    if not one:
        return Line("spare states", 0, source)
    each = _STATES if served.prefix_cache else 1
    states = (each * requests + 1) * one
    if not served.prefix_cache and served.max_requests is not None:
        beyond = max(requests, served.max_requests) * one + one - counted
        return Line("spare states", beyond, source, f"{served.max_requests} + 1 states, less those")
    share = _STATES_TO_TOKENS
    pools = max((1 + share) * tokens, (1 + share) / share * states)
    formula = (
        f"{each} x {requests} + 1 states of {one:,} bytes, {share:g} of them to 1 of the cache, less "
        "both above"
    )
    return Line("spare states", max(0, math.ceil(pools) - tokens - counted), source, formula)
