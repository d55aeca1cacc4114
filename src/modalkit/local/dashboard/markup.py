"""HTML as Python calls: whatever is not markup already is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

__all__ = ["Markup", "el", "joined"]

_VOID = {"input", "meta", "link", "br"}


class Markup(str):
    """Text that is HTML already; it is put in as it is."""

    __slots__ = ()


def joined(parts: Iterable[str]) -> Markup:
    """Put parts one after the other, escaping those that are plain text."""
    return Markup(
        "".join(part if isinstance(part, Markup) else html.escape(part) for part in parts)
    )


def el(tag: str, *children: str, **attributes: str | bool | None) -> Markup:
    """Return an element.

    An attribute's name has ``-`` for ``_``, and ``class_`` is ``class``; True stands for an
    attribute without a value, None and False for none at all.
    """
    written = "".join(
        f" {_name(name)}" + ("" if value is True else f'="{html.escape(value)}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{joined(children)}</{tag}>")


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")
