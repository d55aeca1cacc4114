"""What a service's cache must hold before it serves: pure, from its plan."""

from __future__ import annotations

import re

from .._values import Value
from ..declare.weights_sources import WeightSource
from ..errors import HubError
from ..lock import LockedFile, LockedService
from ..plan import ServicePlan, engine_of
from ..service import ModelService

__all__ = ["MAIN", "Wanted", "check_hub_id", "wanted_models"]

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
MAIN = "main"


class Wanted(Value):
    """One model that must be in the cache.

    Attributes:
        model: Hub id, or the name of what another source holds.
        asked: The commit that is locked, or the revision that is declared, or ``"main"``.
        source: Where it comes from; None for the hub.
        locked: The files that are locked, with their digests.
        include: Patterns of files to fetch besides.
        exclude: Patterns of files to leave out.
    """

    model: str
    asked: str = MAIN
    source: WeightSource | None = None
    locked: tuple[LockedFile, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def source_text(self) -> str:
        """The source as messages and manifests name it."""
        return "the hub" if self.source is None else str(self.source)


def wanted_models(service: type[ModelService], plan: ServicePlan) -> tuple[Wanted, ...]:
    """Return what a service's cache must hold: its model first, then what its engine adds to it."""
    cache = service.weights
    if not plan.prefetched or cache is None or plan.model is None:
        return ()
    locked = plan.locked.model.files if plan.locked and plan.locked.model else ()
    main = Wanted(
        model=plan.model,
        asked=plan.revision or MAIN,
        source=cache.source,
        locked=locked,
        include=cache.include,
        exclude=cache.exclude,
    )
    engine = engine_of(service)
    others = engine.repositories() if engine else {}
    beside = (_beside(one, commit, plan.locked) for one, commit in others.items())
    return (main, *(one for one in beside if one.model != plan.model))


def _beside(model: str, commit: str | None, locked: LockedService | None) -> Wanted:
    """An adapter or a draft model: as it is locked, unless another commit is declared."""
    held = next((one for one in locked.beside if one.id == model), None) if locked else None
    if held is None or commit not in {None, held.commit}:
        return Wanted(model=model, asked=commit or MAIN)
    return Wanted(model=model, asked=held.commit or MAIN, locked=held.files)


def check_hub_id(model: str) -> None:
    """Refuse a name that would lead out of the cache.

    Raises:
        HubError: It is not a hub id.
    """
    if not _HUB_ID.fullmatch(model):
        msg = f"{model!r} is not a hub id. Write one such as 'Qwen/Qwen3-8B'."
        raise HubError(msg)
