"""Types that pydantic does not know: arrays (`wire_arrays`), images (`wire_images`), msgspec structs.

None of their packages is imported here: whoever wrote the annotation has done so.
"""

from __future__ import annotations

import sys
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from .foreign_types import Foreign
from .wire_arrays import Array
from .wire_images import Picture

__all__ = ["COMPONENT", "as_known", "foreign"]

# Marks a schema in place that an OpenAPI document holds once, under this name.
COMPONENT = "x-modalkit-component"


class _Struct(Foreign):
    """A msgspec struct; where it is the whole body msgspec reads and writes it itself."""

    media_type = "application/json"

    def __init__(self, kind: Any) -> None:
        import msgspec  # noqa: PLC0415 - only where an annotation names one of its types

        self._msgspec = msgspec
        self._kind = kind
        (schema,), parts = msgspec.json.schema_components([kind], ref_template="{name}")
        self.schema = _inlined(schema, parts, ())

    def load(self, value: Any) -> Any:
        return self._msgspec.convert(value, self._kind)

    def dump(self, value: Any) -> Any:
        return self._msgspec.to_builtins(value)


def _inlined(schema: Any, parts: dict[str, Any], inside: tuple[str, ...]) -> Any:
    """A schema with its parts in place; one that holds itself says only that it is an object."""
    if isinstance(schema, list):
        return [_inlined(one, parts, inside) for one in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("$ref")
    if isinstance(name, str) and name in parts:
        if name in inside:
            return {"type": "object", "title": name}
        return {**_inlined(parts[name], parts, (*inside, name)), COMPONENT: name}
    return {key: _inlined(value, parts, inside) for key, value in schema.items()}


def foreign(hint: Any) -> Foreign | None:
    """Return what makes a type of another package come and go; None for one that pydantic knows."""
    base = get_origin(hint) or hint
    if base is Annotated:
        return _declared(hint) or foreign(get_args(hint)[0])
    if not isinstance(base, type):
        return None
    numpy, pillow = sys.modules.get("numpy"), sys.modules.get("PIL.Image")
    msgspec = sys.modules.get("msgspec")
    if numpy is not None and issubclass(base, numpy.ndarray):
        return Array().of(hint)
    if pillow is not None and issubclass(base, pillow.Image):
        return Picture()
    if msgspec is not None and issubclass(base, msgspec.Struct):
        return _Struct(hint)
    return None


def _declared(hint: Any) -> Foreign | None:
    """What the annotation itself says of an array or an image."""
    kind, *marks = get_args(hint)
    said = (mark for mark in marks if isinstance(mark, Array | Picture))
    return next((mark.of(kind) if isinstance(mark, Array) else mark for mark in said), None)


def as_known(hint: Any) -> Any:
    """The same type with every foreign one inside annotated so that pydantic knows it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is not Annotated and (marked := foreign(hint)) is not None:
        return Annotated[hint, marked]
    if origin is Annotated:
        if _declared(hint) is not None:
            return hint
        known = as_known(arguments[0])
        return hint if known is arguments[0] else Annotated[(known, *arguments[1:])]
    if origin not in {list, tuple, dict, set, frozenset, Union, UnionType}:
        return hint
    known = tuple(as_known(argument) for argument in arguments)
    if all(new is old for new, old in zip(known, arguments, strict=True)):
        return hint
    return Union[known] if origin in {Union, UnionType} else origin[known]  # noqa: UP007 - a tuple of them
