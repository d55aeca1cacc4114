"""What Modal renamed and removed, read from ``data/modal_changes.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Change", "all_changes", "change", "changes_of"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing of Modal that is written differently now.

    Attributes:
        id: Its name in the table.
        code: The rule that finds it.
        kind: ``"name"``, ``"option"``, ``"dropped"`` and ``"member"`` are rewritten from the table
            alone; ``"rewrite"`` has code of its own.
        old: What was written.
        new: What is written now; None where nothing replaces it.
        where: For options: the calls that took it, by full name.
        deprecated: The day from which Modal warned, if that is known.
        gone: The first version in which it no longer works; None while it only warns.
        fix: ``"safe"``, ``"unsafe"`` or ``"none"``.
        note: What else to know, a sentence or nothing.
        source: The version of Modal and the file that says so.
    """

    id: str
    code: str
    kind: str
    old: str
    new: str | None
    where: tuple[str, ...]
    deprecated: str | None
    gone: str | None
    fix: str
    note: str
    source: str

    @property
    def is_safe(self) -> bool:
        """Whether its rewrite means the same."""
        return self.fix == "safe"

    @property
    def fate(self) -> str:
        """What happened to it, after "is": ``"gone since modal 1.4"``."""
        if self.gone is None:
            return f"deprecated since {self.deprecated}"
        versioned = self.gone if self.gone[0].isalpha() else f"modal {self.gone}"
        return f"gone since {versioned}"


@cache
def all_changes() -> tuple[Change, ...]:
    """Return the whole table."""
    data = resources.files("modalkit.data").joinpath("modal_changes.json").read_text("utf-8")
    return tuple(
        Change(**{**one, "where": tuple(one["where"])}) for one in json.loads(data)["changes"]
    )


@cache
def _by_id() -> dict[str, Change]:
    return {one.id: one for one in all_changes()}


def change(name: str) -> Change:
    """Return one change by its id."""
    return _by_id()[name]


@cache
def changes_of(kind: str, code: str = "") -> tuple[Change, ...]:
    """Return the changes of a kind, and of one rule if it is given."""
    return tuple(one for one in all_changes() if one.kind == kind and one.code.startswith(code))
