"""``--compare``: a bench beside an older one, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Iterator

from .._values import Value
from .percentiles import Distribution, Estimate
from .report import BenchReport, StageReport, figures

__all__ = ["Change", "changes", "differences"]

_LESS_IS_MORE = ("requests_per_s", "tokens_per_s")  # the others are better when they are smaller
_COMPARED = (
    *("requests_per_s", "tokens_per_s"),
    *("ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms", "itl_p50_ms", "itl_p90_ms"),
    *("ttlt_p50_ms", "ttlt_p90_ms", "ttlt_p99_ms", "error_rate", "usd_per_million_tokens"),
)


class Change(Value):
    """One figure then and now.

    Attributes:
        load: The load.
        figure: Its name.
        old: Then.
        new: Now.
        percent: The change; None from nothing.
        sure: Whether the confidence intervals are apart; None for figures without one.
        better: Whether it is for the better.
    """

    load: str
    figure: str
    old: float
    new: float
    percent: float | None
    sure: bool | None
    better: bool


def changes(old: BenchReport, new: BenchReport) -> tuple[Change, ...]:
    """Compare every load that both have."""
    before = {one.load: one for one in old.stages}
    return tuple(
        change
        for stage in new.stages
        if stage.load in before
        for change in _of_stage(before[stage.load], stage)
    )


def _of_stage(old: StageReport, new: StageReport) -> Iterator[Change]:
    then, now = figures(old), figures(new)
    for name in _COMPARED:
        if (
            name not in then
            or name not in now
            or (name == "error_rate" and then[name] == now[name])
        ):
            continue
        more = now[name] > then[name]
        yield Change(
            load=new.load,
            figure=name,
            old=then[name],
            new=now[name],
            percent=round((now[name] / then[name] - 1) * 100, 1) if then[name] else None,
            sure=_apart(_estimate(old, name), _estimate(new, name)),
            better=more == (name in _LESS_IS_MORE),
        )


def _estimate(stage: StageReport, name: str) -> Estimate | None:
    if name in _LESS_IS_MORE:
        found = getattr(stage, name)
        return found if isinstance(found, Estimate) else None
    of, _, rest = name.partition("_")
    told = getattr(stage, f"{of}_ms", None)
    return getattr(told, rest.removesuffix("_ms")) if isinstance(told, Distribution) else None


def _apart(old: Estimate | None, new: Estimate | None) -> bool | None:
    if old is None or new is None:
        return None
    return _below(old, new) or _below(new, old)


def _below(one: Estimate, other: Estimate) -> bool:
    return one.high is not None and other.low is not None and one.high < other.low


def differences(old: BenchReport, new: BenchReport) -> Iterator[str]:
    """Yield why the two may not be comparable."""
    told = {
        "endpoint kinds": (old.kind, new.kind),
        "models": (old.model, new.model),
        "workloads": (old.workload, new.workload),
    }
    for what, (then, now) in told.items():
        if then != now:
            yield f"The {what} differ: {then or 'none'} then, {now or 'none'} now."
    missing = {one.load for one in old.stages} - {one.load for one in new.stages}
    if missing:
        yield f"The older bench has loads that this one has not: {', '.join(sorted(missing))}."
