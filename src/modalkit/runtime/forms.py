"""Forms (``multipart/form-data``): what came by name, made into what the types ask for (`form_fields`)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..declare.files import File
from .form_fields import FormField, as_asked, form_fields, is_file
from .typed_routes import TypedRoute

__all__ = ["FormError", "FormParts", "Forms", "form_parts"]

FormParts = Mapping[str, Sequence[File | str]]

# What a value of JSON is called in a schema; a whole number is a number too.
_JSON_KINDS: Mapping[type, frozenset[str]] = {
    bool: frozenset({"boolean"}),
    int: frozenset({"integer", "number"}),
    float: frozenset({"number"}),
    str: frozenset({"string"}),
    list: frozenset({"array"}),
    dict: frozenset({"object"}),
    type(None): frozenset({"null"}),
}


class FormError(ValueError):
    """A body that is no form, or one without what it needs.

    Attributes:
        place: The field that does not fit, in a tuple; empty for the form as a whole.
    """

    def __init__(self, message: str, *place: str) -> None:
        super().__init__(message)
        self.place = place


class Forms:
    """Reads the forms of one route's requests."""

    def __init__(self, route: TypedRoute) -> None:
        self._whole = route.request_type
        self._fields = form_fields(route)

    def read(self, parts: FormParts) -> object:
        """A form's fields by name; where the whole body is one file, that file.

        Raises:
            FormError: It has not the one file, or a field's JSON cannot be read.
        """
        if is_file(self._whole):
            return _only_file(parts, self._whole)
        return {name: _value(values, self._fields.get(name)) for name, values in parts.items()}


async def form_parts(content_type: bytes, body: bytes) -> FormParts:
    """Return what a form has under each name.

    Raises:
        FormError: It is no form.
    """

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    headers = Headers(raw=[(b"content-type", content_type)])
    try:
        form = await MultiPartParser(headers, whole(), max_part_size=len(body) + 1).parse()
    except (MultiPartException, KeyError) as error:
        msg = f"This is no form: {error}"
        raise FormError(msg) from error
    parts: dict[str, list[File | str]] = {}
    for name, value in form.multi_items():
        parts.setdefault(name, []).append(await _content(value))
    await form.close()
    return parts


async def _content(value: UploadFile | str) -> File | str:
    if isinstance(value, str):
        return value
    media_type = value.content_type or "application/octet-stream"
    return File(await value.read(), value.filename or "", media_type)


def _only_file(parts: FormParts, kind: object) -> object:
    files = [one for values in parts.values() for one in values if isinstance(one, File)]
    if len(files) != 1:
        msg = f"A form with one file is needed, got {len(files)}."
        raise FormError(msg)
    return as_asked(files[0], kind)


def _value(values: Sequence[File | str], field: FormField | None) -> object:
    if field is None:  # nothing knows the name, and the validator says so
        return values[-1]
    if field.each is None:
        return _made(values[-1], field, field.whole)
    if len(values) == 1:
        whole = _made(values[0], field, field.whole)
        if isinstance(whole, list) or (whole is None and "null" in field.whole):
            return whole  # the list itself, as JSON
        if field.whole - {"null"} != {"array"}:
            return whole  # it need not be a list
    return [_made(one, field, field.each) for one in values]


def _made(value: File | str, field: FormField, kinds: AbstractSet[str | None]) -> object:
    """One part of a form; a JSON file in the place of no file is JSON."""
    if isinstance(value, str):
        return _of_text(value, field, kinds)
    if field.is_file:
        return as_asked(value, field.kind)
    is_json = value.media_type.partition(";")[0].endswith(("/json", "+json"))
    return _from_json(value.data, value, field) if is_json else value


def _of_text(text: str, field: FormField, kinds: AbstractSet[str | None]) -> object:
    """Text where only text is asked for; else JSON, where it is of a kind that is asked for."""
    if "string" in kinds and kinds <= {"string", "null"}:
        return text.encode() if field.is_bytes else text
    read = _from_json(text, text, field)
    is_asked = None in kinds or not kinds.isdisjoint(_JSON_KINDS[type(read)])
    return read if is_asked or "string" not in kinds else text


def _from_json(text: str | bytes, otherwise: object, field: FormField) -> object:
    """Numbers, lists and objects are written as JSON."""
    try:
        return json.loads(text)
    except RecursionError as error:
        msg = (
            f"The field {field.name!r} has {len(text):,} characters of JSON that nest deeper than "
            "can be read. Nest it less deep."
        )
        raise FormError(msg, field.name) from error
    except ValueError:
        return otherwise
