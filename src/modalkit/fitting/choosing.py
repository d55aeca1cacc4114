"""From a service's wish, `GPUProfile.fit`, and the facts of its model to the GPUs it gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..cuda import needed_cuda, proven_cuda
from ..declare.gpu import GPUFit, GPUProfile
from ..errors import SizingError
from ..lock import LockedModel
from ..service import ModelService
from ..sizing.context import beyond_own
from ..sizing.demand import Demand
from ..sizing.facts import ModelFacts
from ..sizing.fit import Pick, Wishes
from .demands import demand_of

__all__ = ["Fitted", "fit_service"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit came to.

    Attributes:
        chosen: The first choice and its fallbacks.
        passed_over: Everything that is no choice although it is cheaper than the dearest one chosen,
            each with its problem.
        profile: The choices as a service would declare them.
        wish: What was asked for.
        uncounted: What is declared and has no place in the arithmetic, a sentence each.
    """

    chosen: tuple[Pick, ...]
    passed_over: tuple[Pick, ...]
    profile: GPUProfile
    wish: GPUFit
    uncounted: tuple[str, ...] = ()

    def explain(self, *, cheaper_only: bool = False) -> Iterator[str]:
        """Yield a line for each choice that was passed over: what it costs and why it is none.

        Args:
            cheaper_only: Only what costs less than the first choice, not what a fallback costs.
        """
        most = self.chosen[0].usd_per_hour if cheaper_only else float("inf")
        for one in self.passed_over:
            if one.usd_per_hour >= most:
                continue
            yield f"{_spelled(self.wish, one)} at ${one.usd_per_hour:.2f} an hour: {one.problem}"


def fit_service(
    service: type[ModelService], model: ModelFacts, beside: Sequence[LockedModel] = ()
) -> Fitted:
    """Find the GPUs of a service that asks for ``GPUProfile.fit``.

    Args:
        service: The service.
        model: The facts of its model, as its checkpoint is.
        beside: What is locked of what its engine reads beside it.

    Raises:
        SizingError: Nothing of what is allowed holds the model; each type's problem is named.
    """
    fit = service.gpu
    assert isinstance(fit, GPUFit)  # noqa: S101 - the caller asks only for those
    demand = demand_of(service, model, beside)
    sized = demand.picks(_wishes(fit))
    found = [replace(one, problem=one.problem or _cannot_start(service, one)) for one in sized]
    usable = [one for one in found if not one.problem]
    if not usable:
        raise SizingError(_nothing(service, fit, demand, found))
    chosen = _different_types(usable)[: 1 + fit.fallbacks]
    passed = list(_passed_over(found, chosen, fit))
    first, *others = (f"{fit.spelling(one.gpu)}:{one.count}" for one in chosen)
    profile = GPUProfile(first, fallbacks=others)
    return Fitted(tuple(chosen), tuple(passed), profile, fit, demand.uncounted)


def _spelled(fit: GPUFit, one: Pick) -> str:
    """A choice as the wish writes its type: ``"H100!:2"``."""
    name = fit.spelling(one.gpu)
    return name if one.count == 1 else f"{name}:{one.count}"


def _passed_over(found: list[Pick], chosen: list[Pick], fit: GPUFit) -> Iterator[Pick]:
    """Everything that costs no more than the dearest choice, each with its reason; so do cheaper fallbacks."""
    first, dearest = chosen[0], max(one.usd_per_hour for one in chosen)
    for one in found:
        if one == first or one.usd_per_hour > dearest:
            continue
        if one.problem:
            yield one
        elif one.usd_per_hour < first.usd_per_hour and fit.prefer_fewer:
            place = "fits, and is a fallback" if one in chosen else "fits"
            yield replace(
                one, problem=f"{place}: {one.count} GPUs, and prefer_fewer asks for fewer"
            )
        elif one not in chosen:
            yield replace(one, problem="fits; another count of its type is chosen, or enough are")


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


def _nothing(service: type[ModelService], fit: GPUFit, demand: Demand, found: list[Pick]) -> str:
    model, load = demand.model, demand.load
    asked = f"{service.__name__}.gpu = GPUProfile.{fit}: "
    length = _says_context(service)
    if too_long := beyond_own(load.context, model.context_limit):
        return f"{asked}{too_long}. Write {length}={model.max_context} or less."
    last = {one.gpu.name: f"{_spelled(fit, one)}: {one.problem}" for one in found}
    tried = "; ".join(last.values()) or "no count of an allowed type divides the model"
    return (
        f"{asked}nothing allowed holds {model.name!r} with {load.concurrency} requests of "
        f"{load.context:,} tokens ({tried}). Lower {length}= or concurrency={_or_less_strict(fit)}."
    )


def _or_less_strict(fit: GPUFit) -> str:
    """What else may be in the way, of what a wish says."""
    ways = {
        "allowed": "allow more types",
        "max_usd_per_hour": "raise max_usd_per_hour=",
        "max_count": "raise max_count=",
        "min_tokens_per_s": "lower min_tokens_per_s=",
    }
    usual = type(fit).model_fields
    said = [way for name, way in ways.items() if getattr(fit, name) != usual[name].default]
    return "".join(f", or {way}" for way in said)


def _says_context(service: type[ModelService]) -> str:
    """The field that the context is said in: the wish's own, or the engine's where only that has one."""
    wished = isinstance(service.gpu, GPUFit) and service.gpu.context is not None
    declared = getattr(service.engine, "context_length", None) is not None
    return "context_length" if declared and not wished else "context"
