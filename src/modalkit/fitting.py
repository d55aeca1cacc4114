"""From a service's wish, `GPUProfile.fit`, and the facts of its model to the GPUs it gets.

Pure: what is chosen depends on the declarations, the facts and the dated price list alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .cuda import needed_cuda, proven_cuda
from .declare.gpu import GPUFit, GPUProfile
from .engines import VLLM, SGLang, Transformers
from .engines.base import Engine
from .engines.gpu_engine import GPUEngine
from .errors import SizingError
from .service import ModelService
from .sizing.fit import Pick, Wishes, picks
from .sizing.memory import LORA_RANK, EngineName, Load, lora_bytes
from .sizing.model import ModelFacts
from .sizing.report import default_load

__all__ = ["Fitted", "as_served", "engine_name", "fit_service", "load_of"]

_SIZED: dict[type[Engine], EngineName] = {
    SGLang: "sglang",
    VLLM: "vllm",
    Transformers: "transformers",
}
_CONCURRENCY = 8  # where neither the fit nor the service says


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit came to.

    Attributes:
        chosen: The first choice and its fallbacks.
        passed_over: Everything that is no choice although it is cheaper than the dearest one chosen,
            each with its problem.
    """

    chosen: tuple[Pick, ...]
    passed_over: tuple[Pick, ...]
    profile: GPUProfile

    def explain(self, *, cheaper_only: bool = False) -> Iterator[str]:
        """Yield a line for each choice that was passed over: what it costs and why it is none.

        Args:
            cheaper_only: Only what costs less than the first choice, not what a fallback costs.
        """
        most = self.chosen[0].usd_per_hour if cheaper_only else float("inf")
        for one in self.passed_over:
            if one.usd_per_hour >= most:
                continue
            yield f"{one.selection} at ${one.usd_per_hour:.2f} an hour: {one.problem}"


def engine_name(engine: Engine | None) -> EngineName | None:
    """Return whose memory reserve an engine has; None for one that sizing does not know."""
    return next((name for kind, name in _SIZED.items() if isinstance(engine, kind)), None)


def load_of(service: type[ModelService], model: ModelFacts) -> Load:
    """Return what a service's GPUs must bear: what its fit says, else its engine and scaling."""
    usual = default_load(model)
    fit = service.gpu if isinstance(service.gpu, GPUFit) else GPUFit()
    own = getattr(service.engine, "context_length", None) or model.max_context or usual.context
    cache = getattr(service.engine, "kv_cache_dtype", None) or ""
    return Load(
        context=fit.context or own,
        concurrency=fit.concurrency or service.scaling.concurrency or _CONCURRENCY,
        cache_bytes=1.0 if "8" in cache else 2.0,
        lora_bytes=_adapters(service.engine, model),
    )


def _adapters(engine: Engine | None, model: ModelFacts) -> int:
    """Bytes of the adapters that an engine keeps ready: its slots, or one for each that it knows."""
    if not isinstance(engine, GPUEngine):
        return 0
    slots = engine.lora_slots or len(engine.lora)
    return lora_bytes(model, slots, engine.max_lora_rank or LORA_RANK)


def fit_service(service: type[ModelService], model: ModelFacts) -> Fitted:
    """Find the GPUs of a service that asks for ``GPUProfile.fit``.

    Raises:
        SizingError: Nothing of what is allowed holds the model; each type's problem is named.
    """
    fit, engine = service.gpu, engine_name(service.engine)
    assert isinstance(fit, GPUFit)  # noqa: S101 - the caller asks only for those
    assert engine is not None  # noqa: S101 - `conflicts` refuses an engine that is not sized
    sized = picks(as_served(service, model), load_of(service, model), engine, _wishes(fit))
    found = [replace(one, problem=one.problem or _cannot_start(service, one)) for one in sized]
    usable = [one for one in found if not one.problem]
    if not usable:
        raise SizingError(_nothing(service, model, found))
    chosen = _different_types(usable)[: 1 + fit.fallbacks]
    dearest = max(one.usd_per_hour for one in chosen)
    passed = [one for one in found if one.problem and one.usd_per_hour <= dearest]
    first, *others = (f"{fit.spelling(one.gpu)}:{one.count}" for one in chosen)
    return Fitted(tuple(chosen), tuple(passed), GPUProfile(first, fallbacks=others))


def as_served(service: type[ModelService], model: ModelFacts) -> ModelFacts:
    """The model in the number format the engine was told to use."""
    dtype = getattr(service.engine, "dtype", None)
    return model if dtype in {None, "auto"} else model.model_copy(update={"dtype": dtype})


def _wishes(fit: GPUFit) -> Wishes:
    return Wishes(
        allowed=fit.allowed,
        max_usd_per_hour=fit.max_usd_per_hour,
        max_count=fit.max_count,
        min_tokens_per_s=fit.min_tokens_per_s,
        prefer_fewer=fit.prefer_fewer,
    )


def _cannot_start(service: type[ModelService], one: Pick) -> str:
    """Why the engine as declared would not start on what holds the model; empty if it would."""
    if one.split.expert is not None and not getattr(service.engine, "expert_parallel", None):
        return "divides whole experts only; say expert_parallel=True"
    fit = service.gpu
    spelled = fit.spelling(one.gpu) if isinstance(fit, GPUFit) else one.gpu.name
    if not proven_cuda(spelled, service):
        return f"needs CUDA {needed_cuda(spelled)}, which the image's tag does not promise"
    return ""


def _different_types(found: list[Pick]) -> list[Pick]:
    """The first of each type: another count of a type that is not to be had is no fallback."""
    first: dict[str, Pick] = {}
    for one in found:
        first.setdefault(one.gpu.name, one)
    return list(first.values())


def _nothing(service: type[ModelService], model: ModelFacts, found: list[Pick]) -> str:
    load = load_of(service, model)
    last = {one.gpu.name: f"{one.selection}: {one.problem}" for one in found}
    tried = "; ".join(last.values()) or "no count of an allowed type divides the model"
    return (
        f"{service.__name__}.gpu = GPUProfile.{service.gpu}: nothing allowed holds {model.name!r} with "
        f"{load.concurrency} requests of {load.context:,} tokens ({tried}). Lower context= or "
        "concurrency=, allow more, or raise max_usd_per_hour."
    )
