"""The OpenAPI document of a custom service, from its routes' types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter

from .form_fields import COMPONENT_REF, FormField, form_fields, is_file
from .typed_routes import TypedRoute
from .wire_types import COMPONENT, foreign

__all__ = ["openapi_schema"]

_Mode = Literal["validation", "serialization"]
_MODES: tuple[_Mode, _Mode] = ("validation", "serialization")


def openapi_schema(
    title: str,
    description: str,
    routes: Sequence[TypedRoute],
    prefix: str,
    *,
    asks_key: bool,
) -> dict[str, JsonValue]:
    """Describe a service's routes as OpenAPI 3.1.

    Args:
        title: The service's name.
        description: What it says about itself.
        routes: Its typed routes.
        prefix: The path it is served below, ``""`` for none.
        asks_key: Whether requests need a Bearer key.
    """
    paths, named = _paths_and_schemas(routes, prefix)
    components: dict[str, JsonValue] = {"schemas": named, "parameters": {"deadline": _DEADLINE}}
    schema: dict[str, JsonValue] = {
        "openapi": "3.1.0",
        "info": {"title": title, "description": description, "version": "1"},
        "paths": paths,
        "components": components,
    }
    if asks_key:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
    return schema


def _paths_and_schemas(
    routes: Sequence[TypedRoute], prefix: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The operations by path, and the schemas that they name."""
    inputs: list[tuple[str, _Mode, TypeAdapter[Any]]] = []
    for route in routes:
        adapters = zip(_MODES, (route.request, route.answer), strict=True)
        inputs.extend((route.name, mode, adapter) for mode, adapter in adapters)
    by_key, definitions = TypeAdapter.json_schemas(inputs, ref_template=COMPONENT_REF)
    paths: dict[str, Any] = {}
    for route in routes:
        request, answer = (by_key[route.name, mode] for mode in _MODES)
        # A model may be called differently coming and going, so a form's are those of all routes.
        form = _form(route, {**request, "$defs": definitions.get("$defs", {})})
        paths[prefix + route.path] = {"post": _operation(route, request, answer, form)}
    named: dict[str, Any] = {**definitions.get("$defs", {}), **_PROBLEMS}
    paths = _with_components(paths, named)
    for name, one in list(named.items()):
        named[name] = _with_components(one, named)
    return paths, named


def _with_components(part: Any, components: dict[str, Any]) -> Any:
    """The same with each schema that has a name held once, among the components."""
    if isinstance(part, list):
        return [_with_components(one, components) for one in part]
    if not isinstance(part, dict):
        return part
    held = {key: _with_components(one, components) for key, one in part.items()}
    name = held.pop(COMPONENT, None)
    if name is None:
        return held
    components[name] = held
    return {"$ref": COMPONENT_REF.format(model=name)}


def _operation(
    route: TypedRoute, request: JsonValue, answer: JsonValue, form: JsonValue
) -> dict[str, JsonValue]:
    refused: JsonValue = {"$ref": COMPONENT_REF.format(model="Problem")}
    return {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [{"$ref": "#/components/parameters/deadline"}],
        "requestBody": {"required": route.needs_body, "content": _bodies(route, request, form)},
        "responses": {
            "200": {"description": "The answer", "content": _answers(route, answer)},
            "422": _json(
                "The body does not fit", {"$ref": COMPONENT_REF.format(model="HTTPValidationError")}
            ),
            "429": _json("Too many requests wait; Retry-After says when to ask again", refused),
            "500": _json("The method failed", refused),
            "504": _json("No answer within x-deadline-ms, or the route's own deadline", refused),
        },
    }


def _bodies(route: TypedRoute, request: JsonValue, form: JsonValue) -> dict[str, JsonValue]:
    """The kinds of body a route takes: JSON, and what brings files."""
    content: dict[str, JsonValue] = {"application/json": {"schema": request}}
    if form is not None:
        content["multipart/form-data"] = {"schema": form}
    kinds = list(route.fields.values()) or [route.request_type]
    if len(kinds) == 1 and is_file(kinds[0]):
        marked = foreign(kinds[0])
        media_type = marked.media_type if marked else "application/octet-stream"
        content[media_type] = {"schema": dict(_BINARY)}
    return content


def _form(route: TypedRoute, request: Mapping[str, Any]) -> JsonValue:
    """What a form has, where it can bring files; one that is the whole body may be called anything."""
    if is_file(route.request_type):
        return {"type": "object", "properties": {"file": dict(_BINARY)}, "required": ["file"]}
    fields = form_fields(route, request)
    if not any(field.is_file for field in fields.values()):
        return None
    properties: dict[str, JsonValue] = {name: _in_form(field) for name, field in fields.items()}
    needed: list[JsonValue] = [name for name, field in fields.items() if field.is_needed]
    return {"type": "object", "properties": properties, "required": needed}


def _in_form(field: FormField) -> JsonValue:
    if not field.is_file:
        return dict(field.schema)
    return dict(_BINARY) if field.each is None else {"type": "array", "items": dict(_BINARY)}


def _answers(route: TypedRoute, answer: JsonValue) -> dict[str, JsonValue]:
    if route.media_type is not None:
        return {route.media_type: {"schema": dict(_BINARY)}}
    if route.streams:
        pieces: JsonValue = {"schema": {"type": "string"}}
        return {"text/event-stream": pieces, "application/x-ndjson": {"schema": answer}}
    marked = foreign(route.answer_type)
    content: dict[str, JsonValue] = {"application/json": {"schema": answer}}
    if marked is not None and marked.media_type != "application/json":
        content[marked.media_type] = {"schema": dict(_BINARY)}
    return content


def _json(description: str, schema: JsonValue) -> dict[str, JsonValue]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_BINARY: dict[str, JsonValue] = {"type": "string", "format": "binary"}
_DEADLINE: JsonValue = {
    "name": "x-deadline-ms",
    "in": "header",
    "required": False,
    "description": "Milliseconds after which an answer is of no use; then it is a 504.",
    "schema": {"type": "number", "minimum": 0},
}
_PROBLEMS: dict[str, JsonValue] = {
    "Problem": {
        "type": "object",
        "properties": {"detail": {"type": "string"}},
        "required": ["detail"],
    },
    "HTTPValidationError": {
        "type": "object",
        "properties": {
            "detail": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                        "msg": {"type": "string"},
                        "type": {"type": "string"},
                    },
                    "required": ["loc", "msg", "type"],
                },
            }
        },
    },
}
