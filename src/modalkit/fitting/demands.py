"""From what a service declares to what its GPUs must bear.

An engine's fields, its recipe's and its further flags count alike: what will stand in its command line is
what is sized. Whatever of it has no place in the arithmetic is named in `Demand.uncounted`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from ..declare.gpu import GPUFit
from ..engines import VLLM, SGLang, Transformers
from ..engines.base import Engine
from ..engines.flags import split_flags
from ..engines.gpu_engine import GPUEngine
from ..lock import LockedModel
from ..service import ModelService, lock_command
from ..sizing.context import stretched
from ..sizing.demand import Demand
from ..sizing.drafts import Draft, draft_of, gain_of
from ..sizing.loading import (
    as_loaded,
    cache_bytes_of,
    computes_in_float32,
    quantizes_itself,
    reads_all_first,
)
from ..sizing.memory import BATCHED_TOKENS, LORA_RANK, Load, lora_bytes
from ..sizing.model import GIB, ModelFacts
from ..sizing.report import default_load
from ..sizing.serving import EngineName, Serving
from ..sizing.splits import Parallelism

__all__ = ["demand_of", "engine_name"]

_SIZED: dict[type[Engine], EngineName] = {
    SGLang: "sglang",
    VLLM: "vllm",
    Transformers: "transformers",
}
_CONCURRENCY = 8  # where neither the fit nor the service says
_ADAPTER_SLOTS: dict[EngineName, int] = {"vllm": 1, "sglang": 8}  # the engines' own defaults
_SGLANG_WHOLE_PROMPT = 2048  # what SGLang's reserve takes a prompt for that is read whole
_LONGER = {  # variables by which an engine takes a context beyond the model's own
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN",
    "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN",
}
_OVERRIDES = ("--hf-overrides", "--json-model-override-args")
_OFFLOADED = "--cpu-offload-gb"
_UNCOUNTED = frozenset(
    {
        "--kv-cache-memory-bytes",
        "--num-gpu-blocks-override",
        "--kv-cache-dtype-skip-layers",
        "--decode-context-parallel-size",
        "--prefill-context-parallel-size",
        "--dcp-size",
        "--attn-cp-size",
        "--moe-dp-size",
        "--enable-eplb",
        "--ep-num-redundant-experts",
        "--max-total-tokens",
        "--swa-full-tokens-ratio",
        "--mamba-full-memory-ratio",
        "--max-mamba-cache-size",
        "--offload-group-size",
        "--speculative-config",
        "--speculative-algorithm",
    }
)


def engine_name(engine: Engine | None) -> EngineName | None:
    """Return whose memory reserve an engine has; None for one that sizing does not know."""
    return next((name for kind, name in _SIZED.items() if isinstance(engine, kind)), None)


def demand_of(
    service: type[ModelService], model: ModelFacts, beside: Sequence[LockedModel] = ()
) -> Demand:
    """Return what each GPU choice of a service must bear.

    Args:
        service: A service whose engine `engine_name` knows.
        model: The facts of its model, as its checkpoint is.
        beside: What is locked of what its engine reads beside it.

    Raises:
        SizingError: A number format of the checkpoint that this version does not know.
    """
    engine, name = _as_started(service), engine_name(service.engine)
    assert name is not None  # noqa: S101 - the caller asks only for those
    served, cache_bytes = _served(service, engine, model)
    context, flags = _context(service, engine, model), _further_flags(engine)
    draft = _draft(service, engine, model, beside)
    load = Load(
        context=context,
        concurrency=_concurrency(service, engine),
        cache_bytes=cache_bytes,
        batched_tokens=_chunk(engine, context) or BATCHED_TOKENS,
        lora_bytes=_adapters(engine, name, model),
        draft_bytes=draft.weight_bytes,
        draft_layers=draft.layers,
        offloaded_bytes=round(float(flags.get(_OFFLOADED) or 0) * GIB),
    )
    return Demand(
        model=served,
        load=load,
        serving=_serving(engine, name, context),
        parallelism=_parallelism(engine),
        uncounted=tuple(_uncounted(engine, model, flags, draft)),
        read_as=_read_as(model, served, name, engine),
        unsped=_unsped(engine),
    )


def _as_started(service: type[ModelService]) -> Engine:
    """The engine with what its recipe fills in."""
    engine = service.engine
    assert engine is not None  # noqa: S101 - the caller has looked
    return engine.with_recipe(service.model) if isinstance(engine, GPUEngine) else engine


def _further_flags(engine: Engine) -> Mapping[str, str]:
    """What stands in ``extra_args``, by each flag's first spelling."""
    if not isinstance(engine, GPUEngine):
        return {}
    table = engine.table()
    given = {one.name: " ".join(one.values) for one in split_flags(engine.extra_args)}
    known = {name: table.find(name) for name in given}
    return {
        (flag.names[0] if (flag := known[name]) else name): text for name, text in given.items()
    }


# ── context and concurrency ─────────────────────────────────────────────────────────────────────


def _context(service: type[ModelService], engine: Engine, model: ModelFacts) -> int:
    asked = service.gpu.context if isinstance(service.gpu, GPUFit) else None
    declared: int | None = getattr(engine, "context_length", None)
    return asked or declared or model.max_context or default_load(model).context


def _concurrency(service: type[ModelService], engine: Engine) -> int:
    """Requests at once; an engine that decodes fewer lets the others wait, and each copy decodes its own."""
    asked = service.gpu.concurrency if isinstance(service.gpu, GPUFit) else None
    wanted = asked or service.scaling.concurrency or _CONCURRENCY
    most = getattr(engine, "max_running_requests", None) or getattr(engine, "max_batch_size", None)
    return min(wanted, most * (getattr(engine, "data_parallel", None) or 1)) if most else wanted


def _own_context(
    service: type[ModelService], engine: Engine, model: ModelFacts
) -> dict[str, int | bool]:
    """Tokens that the engine takes the model to be made for, and whether it refuses more."""
    variables = {**service.env, **getattr(engine, "env", {})}
    takes_more = any(variables.get(name, "0") not in {"", "0"} for name in _LONGER)
    flags = _further_flags(engine)
    changed = [_parsed(flags[name]) for name in _OVERRIDES if name in flags]
    longest = max([model.max_context, *(_overridden(model.max_context, one) for one in changed)])
    return {
        "max_context": longest,
        "context_is_default": model.context_is_default or takes_more,
    }


def _overridden(own: int, config: Mapping[str, object]) -> int:
    """A context as fields laid over the model's config make it."""
    nested = config.get("text_config")
    if isinstance(nested, Mapping):
        return max(_overridden(own, nested), _overridden(own, {**config, "text_config": None}))
    said = config.get("max_position_embeddings")
    positions = said if isinstance(said, int) else own
    scalings = (config.get(name) for name in ("rope_scaling", "rope_parameters"))
    return max(stretched(positions, one) for one in scalings)


def _parsed(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# ── how the engine uses a GPU ───────────────────────────────────────────────────────────────────


def _served(
    service: type[ModelService], engine: Engine, model: ModelFacts
) -> tuple[ModelFacts, float]:
    """The model as the engine computes with it, and the bytes of a number in its cache.

    Raises:
        SizingError: A number format of the checkpoint that this version does not know.
    """
    keeps_float32 = isinstance(engine, Transformers)  # the others make 16 bit of it
    dtype, method = getattr(engine, "dtype", None), getattr(engine, "quantization", None)
    float32 = computes_in_float32(model, dtype, keeps_float32=keeps_float32)
    served = as_loaded(model, dtype, method, keeps_float32=keeps_float32)
    cache_bytes = cache_bytes_of(getattr(engine, "kv_cache_dtype", None), float32=float32)
    return served.model_copy(update=_own_context(service, engine, model)), cache_bytes


def _serving(engine: Engine, name: EngineName, context: int) -> Serving:
    whole = getattr(engine, "chunked_prefill", None) is False
    reserved = _SGLANG_WHOLE_PROMPT if whole and name == "sglang" else _chunk(engine, context)
    return Serving(
        engine=name,
        version=getattr(engine, "version", ""),
        memory_fraction=getattr(engine, "memory_fraction", None),
        chunk_tokens=reserved,
        max_requests=getattr(engine, "max_running_requests", None),
        cuda_graphs=getattr(engine, "cuda_graphs", True),
        prefix_cache=getattr(engine, "prefix_caching", True),
    )


def _chunk(engine: Engine, context: int) -> int | None:
    """Prompt tokens read at once, where something is said of it; a prompt that is not cut is read whole."""
    if getattr(engine, "chunked_prefill", None) is False:
        return context
    tokens: int | None = getattr(engine, "prefill_chunk_tokens", None)
    return tokens


def _parallelism(engine: Engine) -> Parallelism:
    if not isinstance(engine, GPUEngine):
        return Parallelism(most=1)  # modalkit's own runs on the first GPU
    told = getattr(engine, "expert_parallel", None)
    return Parallelism(
        tensor=engine.tensor_parallel,
        pipeline=engine.pipeline_parallel or 1,
        data=engine.data_parallel or 1,
        attention_data=getattr(engine, "attention_data_parallel", None) or 1,
        experts=told if told is not None else False,
        experts_shared=isinstance(engine, VLLM),
    )


def _adapters(engine: Engine, name: EngineName, model: ModelFacts) -> int:
    """Bytes of the slots that an engine makes for adapters, whether or not they are filled."""
    if not isinstance(engine, GPUEngine) or not engine.serves_adapters():
        return 0
    slots = engine.lora_slots or _ADAPTER_SLOTS[name]
    return lora_bytes(model, slots, engine.max_lora_rank or LORA_RANK)


def _draft(
    service: type[ModelService],
    engine: Engine,
    model: ModelFacts,
    beside: Sequence[LockedModel],
) -> Draft:
    guess = getattr(engine, "speculative", None)
    if guess is None:
        return Draft()
    locked = next((one for one in beside if one.id == guess.draft_model), None)
    return draft_of(
        model,
        guess.method,
        guess.draft_model,
        facts=locked.facts if locked else None,
        stored=locked.total_bytes if locked else 0,
        command=lock_command(service),
    )


def _read_as(
    model: ModelFacts, served: ModelFacts, name: EngineName, engine: Engine
) -> ModelFacts | None:
    """The model as the GPUs hold it before it is quantised, where all of it is read first."""
    told = getattr(engine, "quantization", None), getattr(engine, "load_format", None)
    quantized = served.quantization != model.quantization
    return model if quantized and reads_all_first(name, *told) else None


def _unsped(engine: Engine) -> tuple[str, ...]:
    guess = getattr(engine, "speculative", None)
    return (gain_of(guess.draft_tokens),) if guess is not None else ()


def _uncounted(
    engine: Engine, model: ModelFacts, flags: Mapping[str, str], draft: Draft
) -> Iterator[str]:
    method: str | None = getattr(engine, "quantization", None)
    yield from (f"{name} is not counted" for name in flags if name in _UNCOUNTED)
    if float(flags.get(_OFFLOADED) or 0):
        yield (
            f"{_OFFLOADED} is counted in memory and not in speed: what is offloaded comes over PCIe at "
            "every step"
        )
    if method and model.quantization is None and not quantizes_itself(method):
        yield (
            f"quantization={method!r} is not counted: {model.name}'s config says nothing of quantised "
            f"weights, which are taken to be {model.dtype}"
        )
    if draft.unknown:
        yield draft.unknown
