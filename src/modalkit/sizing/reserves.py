"""What an engine keeps of a GPU for itself: activations, CUDA graphs, what it leaves alone.

Each engine has a formula of its own, of the release that `serving.FORMULA_RELEASES` names. CUDA graphs
are a line apart: switching them off is the first thing to do where memory is short.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

from .facts import GIB, ModelFacts
from .lines import Line
from .load import Split
from .parts import Kind
from .serving import EngineName, Serving

__all__ = ["least_outside", "reserve_lines"]

MIB = 1024**2
VLLM_UTILIZATION = 0.92  # --gpu-memory-utilization of vLLM 0.33
VLLM_CHUNK = 8192  # --max-num-batched-tokens of vLLM 0.33 on cards of 80 GB and more


def reserve_lines(
    model: ModelFacts, split: Split, total: int, weights: int, served: Serving
) -> list[Line]:
    """Return what an engine keeps for itself, line by line.

    Args:
        model: The model.
        split: How it is spread.
        total: Bytes of the card.
        weights: Bytes of weights on it.
        served: The engine, and what it was told.
    """
    return _RESERVES[served.engine](model, split, total, weights, served)


def least_outside(model: ModelFacts, split: Split, total: int, served: Serving) -> int | None:
    """Return the bytes of a card that an engine must have beyond its share; None for one without a share.

    vLLM's share holds all but the CUDA context, NCCL's buffers and fragments; SGLang's neither its
    activations nor its graphs, nor the work on an image.

    Args:
        model: The model.
        split: How it is spread.
        total: Bytes of the card.
        served: The engine, and what it was told.
    """
    if served.engine == "vllm":
        return _VLLM_OUTSIDE
    if served.engine == "sglang":
        images = _IMAGES_OUTSIDE if model.vision is not None else 0
        return sum(line.bytes for line in _sglang_work(model, split, total, served)) + images
    return None


_VLLM_OUTSIDE = 2 * GIB  # by convention: about 0.6 GiB of context, 1 GiB of NCCL's buffers
_IMAGES_OUTSIDE = GIB  # by convention: activations of one large image


# ── vLLM ────────────────────────────────────────────────────────────────────────────────────────


def _vllm(model: ModelFacts, split: Split, total: int, weights: int, served: Serving) -> list[Line]:
    """Reserve of vLLM 0.33: 8 % of the card left alone; the rest by a rule of thumb.

    vLLM measures its activations and graphs at its start. ``2.3 GiB + 5 % of the weights`` for both left
    room in 45 of 47 published setups, and too little only where the weights alone nearly fill a card; the
    activations of one batch of prompt tokens bound the second part.
    """
    del split
    fraction = served.memory_fraction or VLLM_UTILIZATION
    chunk = served.chunk_tokens or VLLM_CHUNK
    widest = chunk * 10 * model.hidden_size * 2
    usual = _vllm_graphs(None) * _GRAPH_BYTES
    fixed = round(2.3 * GIB) - usual
    beyond = max(0, chunk - VLLM_CHUNK) * 10 * model.hidden_size * 2
    working = fixed + round(min(0.05 * weights, widest or math.inf)) + beyond
    graphs = _vllm_graphs(served.max_requests) if served.cuda_graphs else 0
    unused = total - round(total * fraction)
    lines = [
        Line(
            "left alone",
            unused,
            "vLLM 0.33",
            f"1 - gpu_memory_utilization {fraction:g}",
            outside=True,
        ),
        Line(
            "activations",
            working,
            "a rule of thumb: with the graphs it left room in 45 of 47 published setups",
            f"2.3 GiB - {usual:,} bytes of usual graphs + 5 % of the weights, at most {chunk:,} tokens x 10 x "
            f"{model.hidden_size:,} x 2 bytes"
            + (f" + {beyond:,} bytes of a longer chunk" if beyond else ""),
        ),
    ]
    return [*lines, _graphs_line(graphs * _GRAPH_BYTES, f"{graphs} graphs x 8 MiB", _VLLM_GRAPHS)]


_VLLM_GRAPHS = "vLLM 0.33 captures each size whole and in pieces and measures them itself; 8 MiB each is SGLang's figure"
_GRAPH_BYTES = 8 * MIB
_LARGEST_GRAPH = 512


def _vllm_graphs(max_requests: int | None) -> int:
    """Graphs that vLLM captures: 1, 2, 4, multiples of 8 to 256, of 16 to twice the requests or 512."""
    most = min(2 * (max_requests or _LARGEST_GRAPH), _LARGEST_GRAPH)
    sizes = itertools.chain((1, 2, 4), range(8, 256, 8), range(256, most + 1, 16))
    return 2 * sum(size <= most for size in sizes)


def _graphs_line(size: int, formula: str, source: str) -> Line:
    if not size:
        return Line("CUDA graphs", 0, "switched off", "none are captured")
    return Line("CUDA graphs", size, source, formula)


# ── SGLang ──────────────────────────────────────────────────────────────────────────────────────


def _sglang(
    model: ModelFacts, split: Split, total: int, weights: int, served: Serving
) -> list[Line]:
    """SGLang 0.5.23's own reserve, ``arg_groups/memory_hook.py``, in MB by the card's size."""
    del weights
    working, graphs = _sglang_work(model, split, total, served)
    counted = working.bytes + graphs.bytes
    if (told := served.memory_fraction) is not None:
        room = max(GIB, total - round(total * told))
        if room < counted:  # SGLang starts with what is left, whatever it would have taken
            graphs = replace(graphs, bytes=round(graphs.bytes * room / counted))
            formula = f"what 1 - mem_fraction_static {told:g} leaves, 1 GiB at least"
            working = replace(working, bytes=room - graphs.bytes, formula=formula)
            counted = room
    rest = _sglang_rest(model, total, counted, served)
    return [working, graphs, *rest, *_features(model, total)]


_SGLANG = "SGLang 0.5.23, memory_hook.py"
_LARGE_CARD = 60 * GIB
_FLOOR = 10 * GIB


def _sglang_work(model: ModelFacts, split: Split, total: int, served: Serving) -> tuple[Line, Line]:
    """What SGLang takes activations and graphs for."""
    chunk, batch = _sglang_sizes(total / MIB, split.tensor)
    chunk = served.chunk_tokens or chunk
    batch = min(batch, served.max_requests or batch)
    latent = any(layer.latent for layer in model.cache)
    read, said = (1536, "1,536") if latent else _prefill_graphs(chunk)
    graphs = (2 * batch + read) * MIB if served.cuda_graphs else 0
    working = round((512 + 1.5 * max(chunk, 2048) + 128 * split.tensor * split.pipeline) * MIB)
    ranks = f"{split.tensor} x {split.pipeline}"
    formula = f"(512 + 1.5 x {max(chunk, 2048):,} tokens + 128 x {ranks} ranks) MiB"
    captured = f"(2 x {batch} requests + {said}) MiB, as far as there is room"
    return (
        Line("activations", working, _SGLANG, formula, outside=True),
        replace(_graphs_line(graphs, captured, _SGLANG), outside=True),
    )


def _sglang_rest(model: ModelFacts, total: int, counted: int, served: Serving) -> list[Line]:
    """What SGLang leaves beyond activations and graphs: its floor, or what it was told; room for images."""
    if (told := served.memory_fraction) is not None:
        left = max(0, total - round(total * told) - counted)
        formula = f"1 - mem_fraction_static {told:g}, less the lines above"
        return [Line("left alone", left, _SGLANG, formula, outside=True)]
    lines = []
    if total > _LARGE_CARD and counted < _FLOOR:
        formula = "10 GiB in all above 60 GiB cards, less the lines above"
        lines.append(Line("left alone", _FLOOR - counted, _SGLANG, formula, outside=True))
    if model.vision is not None:
        fraction = round((total - max(counted, _FLOOR if total > _LARGE_CARD else 0)) / total, 3)
        factor = _vision_factor(*model.vision)
        room = max(0, round(total * fraction * (1 - factor)))
        formula = f"{fraction:g} of the card x (1 - {factor:.4g})"
        lines.append(Line("reading images", room, _SGLANG, formula, outside=True))
    return lines


def _features(model: ModelFacts, total: int) -> list[Line]:
    """What SGLang takes off its cache for images and sounds on their way to the model."""
    if not any(part.kind in {Kind.VISION, Kind.AUDIO} for part in model.weight_parts):
        return []
    pool = model.model_type in _POOLED and total > _LARGE_CARD
    size = GIB if pool else _EMBEDDINGS
    formula = "1 GiB pool, as on large Hopper cards" if pool else "100 MiB of embeddings"
    return [Line("image features", size, "SGLang 0.5.23, kv_cache_configurator.py", formula)]


_EMBEDDINGS = 100 * MIB  # SGLANG_VLM_CACHE_SIZE_MB
_POOLED = {"qwen3_vl", "qwen3_vl_moe"}  # `_qwen3vl_hopper_serving_overrides`, SGLang 0.5.23


def _vision_factor(layers: int, width: int) -> float:
    """What SGLang multiplies its share of the card with where a vision tower works beside the model."""
    complexity = layers * width**2 / (24 * 1024**2)  # against ViT-L/14
    return 0.95 * max(0.8, min(1.05, 1 - 0.1 * (complexity - 1)))


def _sglang_sizes(total_mib: float, tensor: int) -> tuple[int, int]:
    """Return the prompt tokens read at once and the largest captured batch, by the card's memory."""
    for limit_gib, chunk, few, many in (
        (20, 2048, 8, 8),
        (35, 4096, 48, 160),
        (60, 4096, 32, 160),
        (160, 8192, 256, 512),
    ):
        if total_mib < limit_gib * 1024:
            return chunk, few if tensor < 4 else many  # noqa: PLR2004 - SGLang's own threshold
    return 16384, 512


def _prefill_graphs(chunk: int) -> tuple[int, str]:
    """Return the MB of the prompt sizes SGLang captures up to a chunk, and how they are counted."""
    sizes = itertools.chain(
        range(4, 33, 4),
        range(48, 257, 16),
        range(288, 513, 32),
        range(576, 1025, 64),
        range(1280, 4097, 256),
        range(4608, chunk + 1, 512),
    )
    count = sum(size <= chunk for size in sizes)
    return 8 * count, f"8 x {count} prompt sizes"


# ── Transformers ────────────────────────────────────────────────────────────────────────────────


def _transformers(
    model: ModelFacts, split: Split, total: int, weights: int, served: Serving
) -> list[Line]:
    """Reserve of modalkit's own engine: the CUDA context and the widest activations; not measured on a GPU."""
    del split, weights, served
    logits = model.vocab_size * 4 * 64  # float32 scores of a batch of 64
    working = round(1.0 * GIB + logits + 64 * model.hidden_size * 4 * 8)
    return [
        Line(
            "left alone", round(total * 0.05), "by convention", "5 % for the allocator's own pieces"
        ),
        Line(
            "activations",
            working,
            "not measured",
            f"1 GiB of CUDA context + 64 x {model.vocab_size:,} scores x 4 bytes + 64 x "
            f"{model.hidden_size:,} x 32 bytes",
        ),
    ]


_Reserve = Callable[[ModelFacts, Split, int, int, Serving], list[Line]]
_RESERVES: dict[EngineName, _Reserve] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "transformers": _transformers,
}
