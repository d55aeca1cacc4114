"""JSON in a part of a form that holds ``bytes``: the part is what the same JSON is in a body.

The rest of a form is Python's values when it is validated, files among them, and there a text that should be
``bytes`` is its own bytes. In JSON it is what the configuration of its type says, base64 where the type is
the method's own. So such a part is read as JSON by itself, and the form is validated with what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from .typed_routes import OWN_TYPES, TypedRoute
from .wire_types import as_known

__all__ = ["JSONReader", "as_it_is", "configuration", "holds_bytes", "json_reader"]

JSONReader = Callable[[object], object]
_BYTES = frozenset({"binary", "base64url"})  # what pydantic's schemas call them


def as_it_is(value: object) -> object:
    """Read a part that holds no bytes."""
    return value


def configuration(route: TypedRoute) -> ConfigDict:
    """How pydantic takes a field of a route's body: as the type that is the body says, or as its own."""
    kind = route.request_type
    if route.fields:
        return OWN_TYPES
    own = "model_config" if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return cast("ConfigDict", getattr(kind, own or "__pydantic_config__", ConfigDict()))


def holds_bytes(schema: Any, parts: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a value may have ``bytes`` somewhere.

    Args:
        schema: Its JSON schema.
        parts: Schemas that it refers to, by name.
        seen: Those that are being looked at.
    """
    if isinstance(schema, list):
        return any(holds_bytes(one, parts, seen) for one in schema)
    if not isinstance(schema, Mapping):
        return False
    if schema.get("format") in _BYTES:
        return True
    named = str(schema.get("$ref", "")).rpartition("/")[2]
    inner = [*schema.values()] if not named or named in seen else [parts.get(named)]
    return any(holds_bytes(one, parts, seen | {named}) for one in inner)


def json_reader(name: str, kind: Any, config: ConfigDict) -> JSONReader:
    """Return what makes of a part's JSON what it is in a body; text and files stay as they are.

    Args:
        name: The field's, for the place of a problem.
        kind: The field's type, without what is said of it besides: limits and validators are asked once, when the
            whole form is validated.
        config: How the type that has the field takes it.

    Raises:
        ValidationError: By what is returned, where a part does not fit.
    """
    by_alias = ConfigDict(**{**config, "validate_by_alias": True})
    model = create_model("Part", __config__=by_alias, part=(as_known(kind), Field(alias=name)))
    validate = TypeAdapter(model).validate_json

    def read(value: object) -> object:
        if not isinstance(value, list | dict):
            return value
        whole: Any = validate(json.dumps({name: value}))
        return whole.part

    return read
