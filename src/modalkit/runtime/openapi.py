"""The OpenAPI document of a custom service, from its routes' types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter

from .typed_routes import TypedRoute

__all__ = ["openapi_schema"]

_REF = "#/components/schemas/{model}"
_Mode = Literal["validation", "serialization"]


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
    inputs: list[tuple[str, _Mode, TypeAdapter[Any]]] = []
    for route in routes:
        inputs.append((route.name, "validation", route.request))
        inputs.append((route.name, "serialization", route.answer))
    by_key, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    paths: dict[str, Any] = {
        prefix + route.path: {
            "post": _operation(
                route,
                by_key[route.name, "validation"],
                by_key[route.name, "serialization"],
            )
        }
        for route in routes
    }
    components: dict[str, Any] = {"schemas": {**definitions.get("$defs", {}), **_PROBLEMS}}
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


def _operation(route: TypedRoute, request: JsonValue, answer: JsonValue) -> dict[str, JsonValue]:
    return {
        "operationId": route.name,
        "summary": route.summary,
        "requestBody": {
            "required": route.needs_body,
            "content": {"application/json": {"schema": request}},
        },
        "responses": {
            "200": _json("The answer", answer),
            "422": _json(
                "The body does not fit", {"$ref": _REF.format(model="HTTPValidationError")}
            ),
        },
    }


def _json(description: str, schema: JsonValue) -> dict[str, JsonValue]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_PROBLEMS: dict[str, JsonValue] = {
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
    }
}
