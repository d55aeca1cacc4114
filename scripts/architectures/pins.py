"""Which settings an architecture file cannot follow, so that a config with others is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .configs import defaults
from .layout import fields_used
from .verify import counted, expected, nested

__all__ = ["pinned"]


def pinned(
    file: Mapping[str, Any],
    model: type,
    given: Mapping[str, Any],
    wrong: Iterable[str],
    *,
    numbers: bool,
) -> dict[str, Any]:
    """Return the settings, with their defaults, that change the class's count and not the file's alike.

    Args:
        file: The architecture file.
        model: The class it was read from.
        given: Settings that the class needs.
        wrong: What `differences` says of the file; the settings it names are tried too.
        numbers: Whether to try single figures, too; lists of them always are.
    """
    kind = CONFIG_MAPPING[file["model_type"]]
    usual = defaults(kind(**nested(given)))
    named = {path for path in usual for one in wrong if f"'{path}'" in one}
    held: dict[str, Any] = {}
    followed = set(fields_used(file["rows"])) - named if numbers else set(usual)
    followed |= set(given)  # given only so that the layers' rules can be told apart
    for path, value, other in _others(usual, followed):
        changes = {**given, path: other}
        try:
            config = kind(**nested(changes))
            real = expected(model, config)
        except Exception:  # noqa: BLE001 - many sizes do not go together
            continue
        if real != counted(file, config, changes):
            held[path] = value
    return held


def _others(usual: Mapping[str, Any], used: set[str]) -> Iterator[tuple[str, Any, Any]]:
    """Yield every size that may matter, its default and another value."""
    for path, value in sorted(usual.items()):
        if type(value) is int and value > 1 and not path.endswith("_id"):
            if path not in used:
                yield path, value, 2 * value
        elif isinstance(value, list) and value and all(type(one) is int for one in value):
            yield path, value, [2 * one for one in value]
            yield path, value, value[:-1]
