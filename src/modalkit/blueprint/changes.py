"""What differs between two blueprints, or between a lock and a blueprint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from .._values import Value
from ..declare.gpu import GPUProfile
from ..errors import DeclarationError, ModalkitError
from ..lock import Lock, LockedService, read_lock
from ..pricing.month import Traffic
from ..pricing.rates import LIST_PRICES
from .values import Blueprint, FunctionBlueprint, ServiceBlueprint

__all__ = ["Change", "Comparison", "PriceChange", "compare", "compare_file", "compare_lock"]

_ROUNDING = 0.005  # list prices are written rounded in one place, by the second in another
_SHORT = 6  # entries of two lists that are still shown whole
_Part = ServiceBlueprint | FunctionBlueprint

# What follows from the rest, or is a price.
_DERIVED = {
    "name",
    "memory",
    "unsized",
    "passed_over",
    "price",
    "unpriced_month",
    "container",
    "not_shown",
}
# Modal applies these to a function without a new container.
_WITHOUT_RESTART = {
    "scaling.min_containers",
    "scaling.max_containers",
    "scaling.buffer_containers",
    "scaling.scaledown_window",
    "schedule",
}
# What earlier plans do not say, so that nothing is known to have changed.
_UNSAID_BEFORE = {"cluster"}


class Change(Value):
    """One difference.

    Attributes:
        of: The service or function.
        field: What of it.
        before: As it was.
        after: As it will be.
        restarts: Whether its containers start with something else, and so are replaced.
    """

    of: str
    field: str
    before: str
    after: str
    restarts: bool


class PriceChange(Value):
    """A price in USD that differs."""

    of: str
    what: str
    before: float
    after: float

    @property
    def difference(self) -> float:
        """What more it costs."""
        return self.after - self.before


class Comparison(Value):
    """Everything that differs.

    Attributes:
        against: The file compared with.
        added: Services and functions that were not there.
        removed: Those that will be gone.
        changes: Differences of those that stay.
        prices: Prices that differ.
        priced_by: Where the earlier prices are from, and when they were read.
        traffic: The traffic that the earlier prices of a month are for; None where none was said.
    """

    against: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changes: tuple[Change, ...]
    prices: tuple[PriceChange, ...]
    priced_by: str = ""
    traffic: Traffic | None = None

    @property
    def restarts(self) -> tuple[str, ...]:
        """Services and functions whose containers are replaced."""
        return tuple(dict.fromkeys(change.of for change in self.changes if change.restarts))


def compare_file(path: str | Path, after: Blueprint) -> Comparison:
    """Compare a blueprint with an earlier one's JSON, or with a lock.

    Raises:
        DeclarationError: The file is neither.
        LockError: It is a lock that was cut off or edited.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        msg = (
            f"{str(path)!r} cannot be read: {error.strerror}. Name a lock, or what --json printed."
        )
        raise DeclarationError(msg) from error
    earlier = _earlier(text, str(path))
    if earlier is not None:
        return compare(earlier.plan, after, file.name, earlier.traffic)
    return compare_lock(read_lock(file), after, file.name)


class _Earlier(NamedTuple):
    """What is read of an earlier report: the rest of it follows from these."""

    plan: Blueprint
    traffic: Traffic | None


def _earlier(text: str, name: str) -> _Earlier | None:
    try:
        written = json.loads(text)
    except ValueError:
        return None
    if not isinstance(written, dict) or "plan" not in written:
        return None
    try:
        plan = Blueprint.model_validate(written["plan"])
    except (ValidationError, ModalkitError) as error:
        msg = f"{name!r} holds no plan that this modalkit can read; write it again with --json."
        raise DeclarationError(msg) from error
    return _Earlier(plan, _earlier_traffic(written.get("traffic"), name))


def _earlier_traffic(written: object, name: str) -> Traffic | None:
    if written is None:
        return None
    try:
        return Traffic.model_validate(written)
    except (ValidationError, ModalkitError) as error:
        msg = (
            f"The 'traffic' of {name!r} must be an object with 'requests_per_day', as --json writes it, got "
            f"{written!r}; write the file again with --json."
        )
        raise DeclarationError(msg) from error


def compare(
    before: Blueprint, after: Blueprint, against: str, traffic: Traffic | None = None
) -> Comparison:
    """Compare two blueprints.

    Args:
        before: The earlier one.
        after: The one that is planned.
        against: What the earlier one is called.
        traffic: What the earlier one's months are for.
    """
    old, new = _parts(before), _parts(after)
    both = [name for name in new if name in old]
    return Comparison(
        against=against,
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changes=tuple(change for name in both for change in _changes(name, old[name], new[name])),
        prices=tuple(
            price
            for name in {**old, **new}
            for price in _prices(name, old.get(name), new.get(name))
        ),
        priced_by=before.prices,
        traffic=traffic,
    )


def compare_lock(before: Lock, after: Blueprint, against: str) -> Comparison:
    """Compare with a lock, which knows the model, the GPUs and their prices of each service."""
    old = {key.partition(":")[2]: one for key, one in before.services.items() if _is_of(key, after)}
    new = {service.name: service for service in after.services}
    both = [name for name in new if name in old]
    days = sorted({before.priced_on(old[name]) for name in both if old[name].usd_per_hour})
    return Comparison(
        against=against,
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changes=tuple(
            change for name in both for change in _lock_changes(name, old[name], new[name])
        ),
        prices=tuple(price for name in both for price in _lock_prices(name, old[name], new[name])),
        priced_by=f"{LIST_PRICES}, {' and '.join(days)}" if days else "",
    )


def _is_of(key: str, blueprint: Blueprint) -> bool:
    return key.partition(":")[0] == blueprint.file


def _parts(blueprint: Blueprint) -> dict[str, _Part]:
    parts: dict[str, _Part] = {}
    for app in blueprint.apps:
        parts |= {f"{app.name}.{one.name}": one for one in app.services}
        parts |= {f"{app.name}.{one.name}": one for one in app.functions}
    return parts


def _changes(name: str, old: _Part, new: _Part) -> Iterator[Change]:
    before, after = dict(_fields(old)), dict(_fields(new))
    for field in {**before, **after}:
        was, will = before.get(field), after.get(field)
        if was != will and not (field in _UNSAID_BEFORE and was is None):
            yield _change(name, field, was, will)


def _fields(value: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The fields of a value and of the values in it, by dotted name."""
    for field in type(value).model_fields:
        if not prefix and field in _DERIVED:
            continue
        inner = getattr(value, field)
        if isinstance(inner, BaseModel):
            yield from _fields(inner, f"{prefix}{field}.")
        else:
            yield f"{prefix}{field}", inner


def _change(name: str, field: str, was: object, will: object) -> Change:
    if isinstance(was, tuple) and isinstance(will, tuple) and len(was) + len(will) > _SHORT:
        gone = tuple(item for item in was if item not in will)
        came = tuple(item for item in will if item not in was)
        was, will = (gone, came) if gone or came else (was, will)
    return Change(
        of=name,
        field=field,
        before=_said(was),
        after=_said(will),
        restarts=field not in _WITHOUT_RESTART,
    )


def _said(value: object) -> str:
    if value is None or value == ():
        return "nothing"
    if isinstance(value, tuple):
        return ", ".join(_said(item) for item in value)
    if isinstance(value, BaseModel):
        fields = value.model_dump(exclude_defaults=True).values()
        return " ".join(_said(tuple(one) if isinstance(one, list) else one) for one in fields)
    return str(value)


def _prices(name: str, old: _Part | None, new: _Part | None) -> Iterator[PriceChange]:
    sizes = [one.cluster for one in (old, new) if isinstance(one, FunctionBlueprint)]
    clustered = None not in sizes and any(size != 1 for size in sizes)
    before, after = _priced(old, clustered), _priced(new, clustered)
    for what in {**before, **after}:
        was, will = before.get(what), after.get(what)
        if was is None and will is None:
            continue
        if abs((was or 0.0) - (will or 0.0)) > 1e-9:  # noqa: PLR2004 - rounding of JSON
            if (was is None and old is not None) or (will is None and new is not None):
                continue  # known on one side only
            yield PriceChange(of=name, what=what, before=was or 0.0, after=will or 0.0)


def _priced(part: _Part | None, clustered: bool) -> dict[str, float | None]:
    if part is None:
        return {}
    if isinstance(part, FunctionBlueprint):
        if clustered:
            return {"its containers together, by the hour": part.usd_per_hour}
        return {"a container, by the hour": part.container.total}
    month = part.price.month
    return {
        "a container, by the hour": part.price.container.total,
        "least, by the hour": part.price.least_hour,
        "most, by the hour": part.price.most_hour,
        "a month under the traffic": month.total if month else None,
    }


def _lock_changes(name: str, old: LockedService, new: ServiceBlueprint) -> Iterator[Change]:
    pairs: list[tuple[str, object, object]] = []
    if old.gpu:
        pairs.append(("gpus", tuple(old.gpu), new.gpus))
    if old.model is not None and old.model.commit is not None:
        pairs.append(("revision", old.model.commit, new.revision))
    if old.image.base is not None:
        pairs.append(("image.base", old.image.base, _tag(new.image.base)))
    for field, was, will in pairs:
        if was != will:
            yield _change(name, field, was, will)


def _tag(base: str) -> str:
    return base.partition("@")[0].partition(" with Python ")[0]


def _lock_prices(name: str, old: LockedService, new: ServiceBlueprint) -> Iterator[PriceChange]:
    before = old.usd_per_hour.get(old.gpu[0]) if old.gpu else None
    after = GPUProfile(new.gpus[0], unlisted=True).usd_per_hour if new.gpus else None
    if before is not None and after is not None and abs(before - after) > _ROUNDING * before:
        yield PriceChange(of=name, what="GPUs, by the hour", before=before, after=after)
