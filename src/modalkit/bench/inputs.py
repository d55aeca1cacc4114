"""Bodies for a typed route, made from the JSON schema of what it takes."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from ..errors import BenchError
from .prompts import text_of

__all__ = ["Maker"]

_DEEPEST = 12
_WORDS = 16
_ITEMS = 3
_BASE64 = {"byte", "base64", "base64url"}
_FORMATS = {
    "uuid": lambda chance: str(UUID(int=chance.getrandbits(128), version=4)),
    "date-time": lambda chance: _moment(chance).isoformat(),
    "date": lambda chance: _moment(chance).date().isoformat(),
    "time": lambda chance: _moment(chance).time().isoformat(),
    "email": lambda chance: f"someone{chance.randrange(10_000)}@example.com",
    "uri": lambda chance: f"https://example.com/{chance.randrange(10_000)}",
    "ipv4": lambda chance: f"192.0.2.{chance.randrange(1, 255)}",
}


class Maker:
    """Makes values that a JSON schema allows, another each time.

    What the schema shows as an example comes first, then ``default``; else a value is drawn. A
    ``pattern`` cannot be drawn from, so a string that has one needs an example.

    Args:
        schema: The schema of the body.
        definitions: What ``$ref`` points into: the whole document.
        chance: Where randomness comes from.

    Examples:
        >>> whole = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}}
        >>> Maker(whole, {}, random.Random(1)).make()
        {'n': 1}
    """

    def __init__(
        self, schema: Mapping[str, Any], definitions: Mapping[str, Any], chance: random.Random
    ) -> None:
        self._schema = schema
        self._definitions = definitions
        self._chance = chance

    def make(self) -> JsonValue:
        """Return the next value.

        Raises:
            BenchError: The schema says nothing that a value could be made from.
        """
        made: JsonValue = self._value(self._schema, "body", 0)
        return made

    def _value(self, schema: Mapping[str, Any], where: str, depth: int) -> Any:
        if depth > _DEEPEST:
            msg = f"{where} refers to itself and never ends. Give bodies with --input FILE."
            raise BenchError(msg)
        if "$ref" in schema:
            return self._value(self._resolve(schema["$ref"], where), where, depth + 1)
        if schema.get("examples"):
            return self._chance.choice(list(schema["examples"]))
        for name in ("example", "const", "default"):
            if name in schema:
                return schema[name]
        if "enum" in schema:
            return self._chance.choice(schema["enum"])
        if "allOf" in schema:
            return self._all_of(schema["allOf"], where, depth)
        for name in ("anyOf", "oneOf"):
            if name in schema:
                return self._value(_first_real(schema[name]), where, depth + 1)
        return self._typed(schema, where, depth)

    def _typed(self, schema: Mapping[str, Any], where: str, depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind == "object" or "properties" in schema:
            return self._object(schema, where, depth)
        if kind == "array":
            return self._array(schema, where, depth)
        if kind == "string":
            return self._string(schema, where)
        if kind in {"integer", "number"}:
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return self._chance.random() < 0.5  # noqa: PLR2004 - a coin
        if kind == "null":
            return None
        return text_of(_WORDS, self._chance)  # anything is allowed

    def _object(self, schema: Mapping[str, Any], where: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = set(schema.get("required", ()))
        # What has a default is left to it, as most clients do.
        wanted = [
            name for name, one in properties.items() if name in required or "default" not in one
        ]
        return {
            name: self._value(properties[name], f"{where}.{name}", depth + 1) for name in wanted
        }

    def _array(self, schema: Mapping[str, Any], where: str, depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self._value(one, where, depth + 1) for one in schema["prefixItems"]]
        least, most = schema.get("minItems", 0), schema.get("maxItems", max(_ITEMS, 1))
        count = max(least, min(_ITEMS, most))
        items = schema.get("items", {"type": "number"})
        return [self._value(items, f"{where}[]", depth + 1) for _ in range(count)]

    def _string(self, schema: Mapping[str, Any], where: str) -> str:
        if "pattern" in schema:
            msg = f"{where} must match {schema['pattern']!r}, which no value can be drawn from. Give bodies with --input FILE, or the field an example."
            raise BenchError(msg)
        if schema.get("format") in _BASE64:
            return base64.b64encode(text_of(_WORDS, self._chance).encode()).decode()
        drawn = _FORMATS.get(schema.get("format", ""))
        if drawn is not None:
            return str(drawn(self._chance))
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        text = text_of(max(_WORDS, least), self._chance)
        return text if most is None else text[:most].strip().ljust(least, "x")

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        step = 1 if whole else 1e-6
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        most = schema.get("maximum", schema.get("exclusiveMaximum"))
        low = least if least is not None else (0 if most is None or most > 0 else most - 100)
        high = most if most is not None else low + 100
        low += step if "exclusiveMinimum" in schema else 0
        high -= step if "exclusiveMaximum" in schema else 0
        multiple = schema.get("multipleOf")
        drawn = (
            self._chance.randint(int(low), int(high)) if whole else self._chance.uniform(low, high)
        )
        return drawn - drawn % multiple if multiple else drawn

    def _all_of(self, parts: list[Mapping[str, Any]], where: str, depth: int) -> Any:
        merged: dict[str, Any] = {}
        for part in parts:
            one = self._resolve(part["$ref"], where) if "$ref" in part else part
            properties = {**merged.get("properties", {}), **one.get("properties", {})}
            required = [*merged.get("required", ()), *one.get("required", ())]
            merged = {**merged, **one, **({"properties": properties} if properties else {})}
            merged["required"] = required
        return self._value(merged, where, depth + 1)

    def _resolve(self, reference: str, where: str) -> Mapping[str, Any]:
        found: Any = self._definitions
        for name in reference.removeprefix("#/").split("/"):
            found = found.get(name) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            msg = f"{where} refers to {reference!r}, which the document does not have. Give bodies with --input FILE."
            raise BenchError(msg)
        return found


def _first_real(choices: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((one for one in choices if one.get("type") != "null"), choices[0])


def _moment(chance: random.Random) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(31_536_000))
