"""Rewrites for findings that are not about old code: versions from the lock, and time limits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .._names import LOCK_NAME
from ..errors import LockError
from .declared import ModalFile, Unit
from .findings import Edit, Fix
from .migration.draft import Draft
from .packages import Install

__all__ = ["keyword_fix", "pin_fix"]

_SPECIFIER = re.compile(r"\s*[<>=!~;].*", re.DOTALL)


def pin_fix(file: ModalFile, loose: Iterable[Install]) -> Fix | None:
    """Return the rewrite that gives requirements the versions of the ``modalkit.lock`` beside the file.

    A requirement that is not written out, that the lock does not have, or whose own bounds the locked
    version is outside of stays as it is.
    """
    versions = _locked(Path(file.source.path).with_name(LOCK_NAME))
    draft, edits, said = Draft(file), list[Edit](), list[str]()
    for one in loose:
        pinned = _pinned(one.requirement, versions)
        written = isinstance(one.at, ast.Constant) and one.at.value == one.requirement
        text = draft.of(one.at) if written else ""
        if pinned is not None and one.requirement in text:
            edits.append(draft.replace(one.at, text.replace(one.requirement, pinned)))
            said.append(pinned)
    return Fix(f"{', '.join(said)}, as locked", tuple(dict.fromkeys(edits))) if edits else None


def _pinned(text: str, versions: Mapping[str, str]) -> str | None:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    version = versions.get(canonicalize_name(requirement.name))
    if (
        version is None
        or requirement.url
        or not requirement.specifier.contains(version, prereleases=True)
    ):
        return None
    marker = f"; {requirement.marker}" if requirement.marker else ""
    return f"{_SPECIFIER.sub('', text)}=={version}{marker}"


def _locked(path: Path) -> Mapping[str, str]:
    """The versions that every service of a lock agrees on."""
    try:
        return _read(str(path), path.stat().st_mtime_ns)
    except (OSError, LockError):
        return {}


@lru_cache(maxsize=64)
def _read(path: str, _changed: int) -> Mapping[str, str]:
    from ..lock import read_lock  # noqa: PLC0415 - loads pydantic and sizing; few files have a lock

    found: dict[str, set[str]] = {}
    for service in read_lock(path).services.values():
        for package in service.image.packages:
            name, _, version = package.split(" ")[0].partition("==")
            if version:
                found.setdefault(canonicalize_name(name), set()).add(version)
    return {name: versions.pop() for name, versions in found.items() if len(versions) == 1}


def keyword_fix(file: ModalFile, unit: Unit, name: str, value: str, *, safe: bool) -> Fix | None:
    """Return the rewrite that gives a function or class a keyword, or another value of it."""
    call, draft = unit.registered.node, Draft(file)
    if not isinstance(call, ast.Call) or not unit.options.complete:
        return None
    given = unit.options.given.get(name)
    if given is None:
        return Fix(f"{name}={value}", (draft.add_keyword(call, f"{name}={value}"),), safe)
    if not isinstance(given.at, ast.keyword) or given.at not in call.keywords:
        return None  # it is in a dict that others may share
    return Fix(f"{name}={value}", (draft.replace(given.value, value),), safe)
