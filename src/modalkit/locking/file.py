"""All services of a file: locking them, and finding out whether a lock is stale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from ..declare.gpu import GPUFit, catalogue_date
from ..discovery import services_of
from ..errors import LockError
from ..fitting import fit_service
from ..lock import Lock, LockedService
from ..lookup import model_folder
from ..service import ModelService
from .folders import folder_files
from .services import Asking, declared_whole, lock_service

__all__ = ["changes", "lock_file", "newer_choices", "stale"]


def lock_file(
    file: str | Path, old: Lock | None, asking: Asking, upgrade: Sequence[str] | None = None
) -> Lock:
    """Lock every service of a file; the services of other files stay as they are.

    Args:
        file: The user's file.
        old: The lock there is.
        asking: How others are asked.
        upgrade: Services to ask everything of again; an empty one means every service of the file.

    Raises:
        LockError: The file declares no service, or none of a name to upgrade.
        ModalkitError: As `lock_service`.
    """
    services = _services(file)
    known = {f"{Path(file).name}:{service.__name__}": service for service in services}
    names = [service.__name__ for service in services]
    for name in upgrade or ():
        if name not in names:
            msg = f"--upgrade {name!r} is not a service of {Path(file).name}. It has {', '.join(names)}."
            raise LockError(msg)
    was = {key: _dated(one, old) for key, one in old.services.items()} if old else {}
    others = {key: one for key, one in was.items() if not key.startswith(f"{Path(file).name}:")}
    locked = {}
    for key, service in known.items():
        anew = upgrade is not None and (not upgrade or service.__name__ in upgrade)
        locked[key] = lock_service(service, None if anew else was.get(key), asking)
    return Lock(
        modalkit=version("modalkit"), prices_read_on=catalogue_date(), services={**others, **locked}
    )


def _dated(one: LockedService, lock: Lock) -> LockedService:
    """A service that keeps its prices while its lock goes on to a newer list."""
    if not one.usd_per_hour or lock.prices_read_on == catalogue_date():
        return one
    return one.model_copy(update={"prices_read_on": lock.priced_on(one)})


def stale(file: str | Path, lock: Lock) -> list[str]:
    """Return what a file declares otherwise than its lock; nothing if it is current. Asks nobody.

    Model folders are read whole. What a branch of the hub means today is not asked: that is what
    ``--upgrade`` is for.

    Raises:
        LockError: The file declares no service, or a model folder is missing.
    """
    name = Path(file).name
    services = {f"{name}:{service.__name__}": service for service in _services(file)}
    gone = [
        f"{key} is locked, but {name} does not declare it."
        for key in lock.services
        if key.startswith(f"{name}:") and key not in services
    ]
    found = [
        line for key, one in services.items() for line in _stale(key, one, lock.services.get(key))
    ]
    return [*gone, *found]


def changes(old: Lock | None, new: Lock) -> list[str]:
    """Return what differs between two locks, a line each."""
    was = old.services if old else {}
    lines = []
    for key in sorted({*was, *new.services}):
        before, after = was.get(key), new.services.get(key)
        if before is None or after is None:
            lines.append(f"{key} {'added' if before is None else 'removed'}")
        else:
            lines += [f"{key} {line}" for line in _differences(before, after)]
    return lines


def newer_choices(file: str | Path, lock: Lock) -> list[str]:
    """Return the services whose fit would choose other GPUs by today's price list."""
    lines = []
    for service in _services(file):
        locked = lock.service(file, service.__name__)
        facts = locked.model.facts if locked and locked.model else None
        if locked is None or facts is None or not isinstance(service.gpu, GPUFit):
            continue
        now = tuple(map(str, fit_service(service, facts, locked.beside).profile.choices))
        if now != locked.gpu:
            lines.append(
                f"{service.__name__} is locked to {', '.join(locked.gpu)} by the prices of {lock.priced_on(locked)}; "
                f"by those of {catalogue_date()} it would be {', '.join(now)}."
            )
    return lines


def _services(file: str | Path) -> tuple[type[ModelService], ...]:
    services = services_of(file)
    if not services:
        msg = f"{str(file)!r} declares no service. Decorate a ModelService with @serve(app)."
        raise LockError(msg)
    return services


def _stale(key: str, service: type[ModelService], locked: LockedService | None) -> Iterator[str]:
    if locked is None:
        yield f"{key} is not locked."
        return
    now = declared_whole(service)
    for name in sorted({*now, *locked.declared}):
        before, after = locked.declared.get(name, ""), now.get(name, "")
        if before != after:
            yield f"{key} {name} was {before!r}, is {after!r}."
    folder = model_folder(service)
    if folder is not None and locked.model is not None:
        yield from (
            f"{key} {line}"
            for line in _files(
                locked,
                LockedService(
                    model=locked.model.model_copy(update={"files": folder_files(folder)})
                ),
            )
        )


def _differences(before: LockedService, after: LockedService) -> Iterator[str]:
    for name in sorted({*before.declared, *after.declared}):
        if before.declared.get(name) != after.declared.get(name):
            yield f"{name}: {before.declared.get(name, 'nothing')} -> {after.declared.get(name, 'nothing')}"
    commits = [one.model.commit if one.model else None for one in (before, after)]
    if commits[0] != commits[1]:
        yield f"commit: {commits[0]} -> {commits[1]}"
    yield from _files(before, after)
    yield from _beside(before, after)
    if before.gpu != after.gpu:
        yield f"GPUs: {', '.join(before.gpu) or 'none'} -> {', '.join(after.gpu) or 'none'}"
    if before.usd_per_hour != after.usd_per_hour and before.gpu == after.gpu:
        yield f"prices: {before.usd_per_hour} -> {after.usd_per_hour}"
    if before.image.digest != after.image.digest:
        yield f"image: {before.image.digest} -> {after.image.digest}"
    yield from _packages(before, after)


def _beside(before: LockedService, after: LockedService) -> Iterator[str]:
    was, now = ({one.id: one for one in service.beside} for service in (before, after))
    for name in sorted({*was, *now}):
        commits = [one[name].commit if name in one else None for one in (was, now)]
        if commits[0] != commits[1]:
            yield f"{name}: {commits[0] or 'none'} -> {commits[1] or 'none'}"


def _files(before: LockedService, after: LockedService) -> Iterator[str]:
    was, now = (
        {file.name: file for file in one.model.files} if one.model else {}
        for one in (before, after)
    )
    for name in sorted({*was, *now}):
        if name not in now:
            yield f"file {name} is gone"
        elif name not in was:
            yield f"file {name} is new"
        elif was[name] != now[name]:
            yield f"file {name} changed ({was[name].size:,} -> {now[name].size:,} bytes)"


def _packages(before: LockedService, after: LockedService) -> Iterator[str]:
    was, now = (
        dict(line.partition(" ")[0].partition("==")[::2] for line in one.image.packages)
        for one in (before, after)
    )
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield f"package {name}: {was.get(name, 'none')} -> {now.get(name, 'none')}"
