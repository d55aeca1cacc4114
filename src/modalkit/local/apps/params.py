"""Class parameters on the wire: from a web request's query, and in one canonical order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..protocol import api

__all__ = ["canonical", "from_query"]

_YES, _NO = {"true", "1"}, {"false", "0"}


def canonical(serialized: bytes) -> bytes:
    """Sort parameters by name, so that the same values select the same containers."""
    given = api.ClassParameterSet.FromString(serialized)
    ordered = sorted(given.parameters, key=lambda one: one.name)
    return _bytes(ordered)


def from_query(schema: Sequence[api.ClassParameterSpec], query: Mapping[str, str]) -> bytes:
    """Take a class's parameters from a query string; missing ones have their defaults.

    Raises:
        ValueError: A parameter is missing, or its text is not of its type.
    """
    values = [
        _parsed(spec, query[spec.name]) if spec.name in query else _default(spec) for spec in schema
    ]
    return _bytes(sorted(values, key=lambda one: one.name))


def _bytes(values: Sequence[api.ClassParameterValue]) -> bytes:
    packed: bytes = api.ClassParameterSet(parameters=values).SerializeToString(deterministic=True)
    return packed


def _kind(spec: api.ClassParameterSpec) -> api.ParameterType.ValueType:
    return spec.full_type.base_type or spec.type


def _default(spec: api.ClassParameterSpec) -> api.ClassParameterValue:
    if not spec.has_default:
        msg = f"The query parameter {spec.name!r} is missing: the class has no default for it."
        raise ValueError(msg)
    value = api.ClassParameterValue(name=spec.name, type=_kind(spec))
    field = spec.WhichOneof("default_oneof")
    if field is not None:
        setattr(value, field.replace("_default", "_value"), getattr(spec, field))
    return value


def _parsed(spec: api.ClassParameterSpec, text: str) -> api.ClassParameterValue:
    value = api.ClassParameterValue(name=spec.name, type=_kind(spec))
    if value.type == api.PARAM_TYPE_STRING:
        value.string_value = text
    elif value.type == api.PARAM_TYPE_INT and text.lstrip("-").isdecimal():
        value.int_value = int(text)
    elif value.type == api.PARAM_TYPE_BOOL and text.lower() in _YES | _NO:
        value.bool_value = text.lower() in _YES
    else:
        kind = api.ParameterType.Name(value.type).removeprefix("PARAM_TYPE_").lower()
        msg = f"The query parameter {spec.name!r} must be of type {kind}, got {text!r}."
        raise ValueError(msg)
    return value
