"""What a request's body makes of the method's arguments, whatever kind of body it is.

JSON is the common case and the fast one: its bytes go straight to the validator. A form's fields and
files are the parameters by name; any other body is the one parameter that can be made of bytes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..declare.files import File
from .typed_routes import TypedRoute
from .wire_types import foreign

__all__ = ["Bodies", "UnfitError", "is_file"]

Arguments = tuple[tuple[object, ...], dict[str, object]]
_JSON_LIKE = (
    b"application/json",
    b"application/x-www-form-urlencoded",
)  # the second is curl's habit


_ECHOED = 16 * 1024  # bytes of the longest body whose wrong values are told to its sender


class UnfitError(ValueError):
    """A body that does not fit; its problems have the shape of pydantic's."""

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__(str(problems))
        self.problems = problems


class Bodies:
    """Reads the bodies of one route's requests.

    Attributes:
        takes_bytes: Whether a body that is neither JSON nor a form can be its request.
        decode: JSON to the request's value.
    """

    def __init__(self, route: TypedRoute) -> None:
        self._route = route
        self._files = {name: kind for name, kind in route.fields.items() if is_file(kind)}
        self.takes_bytes = len(route.fields) <= 1 and (
            bool(self._files) or is_file(route.request_type)
        )
        self.decode = _decoder(route)

    def arguments(self, body: bytes) -> Arguments:
        """Take a JSON body.

        Raises:
            UnfitError: It does not fit.
        """
        if not body and not self._route.needs_body:
            return (), {}
        try:
            return self._route.arguments(self.decode(body))
        except ValidationError as error:
            raise _unfit(error, include_input=len(body) <= _ECHOED) from error

    async def read(self, content_type: bytes, body: bytes) -> Arguments:
        """Take a body of any kind.

        Raises:
            UnfitError: It does not fit.
        """
        if content_type.startswith(b"multipart/form-data"):
            return self._validated(await self._form(content_type, body))
        if self.takes_bytes and body and not content_type.startswith(_JSON_LIKE):
            media_type = content_type.decode("latin-1") or "application/octet-stream"
            return self._validated_file(File(body, media_type=media_type))
        return self.arguments(body)

    def _validated_file(self, file: File) -> Arguments:
        if not self._route.fields:
            return self._validated(_as_asked(file, self._route.request_type))
        ((name, kind),) = self._route.fields.items()
        return self._validated({name: _as_asked(file, kind)})

    def _validated(self, value: object) -> Arguments:
        try:
            return self._route.arguments(self._route.request.validate_python(value))
        except ValidationError as error:  # what came may be megabytes, and no text
            raise _unfit(error, include_input=False) from error

    async def _form(self, content_type: bytes, body: bytes) -> object:
        """A form's fields by name; where the whole body is one file, that file."""

        async def whole() -> AsyncGenerator[bytes, None]:
            yield body
            yield b""

        headers = Headers(raw=[(b"content-type", content_type)])
        try:
            form = await MultiPartParser(headers, whole(), max_part_size=len(body) + 1).parse()
        except (MultiPartException, KeyError) as error:
            raise UnfitError([_problem("form", f"This is no form: {error}")]) from error
        fields = {name: await _content(value) for name, value in form.multi_items()}
        await form.close()
        if is_file(self._route.request_type):
            return _only_file(fields, self._route.request_type)
        return {name: self._field(name, value) for name, value in fields.items()}

    def _field(self, name: str, value: File | str) -> object:
        kind = self._route.fields.get(name)
        if isinstance(value, File):
            return _as_asked(value, kind)
        if kind in {str, None}:
            return value
        try:
            return json.loads(value)  # numbers, lists and objects are written as JSON
        except ValueError:
            return value


def is_file(kind: object) -> bool:
    """Whether a type is made of a file's bytes."""
    if kind in {bytes, File}:
        return True
    marked = foreign(kind)
    return marked is not None and marked.media_type != "application/json"


def _as_asked(file: File, kind: object) -> object:
    """A `File` is what a `File` or a foreign type is made of; anything else takes its bytes."""
    return file.data if kind is bytes else file


async def _content(value: UploadFile | str) -> File | str:
    if isinstance(value, str):
        return value
    media_type = value.content_type or "application/octet-stream"
    return File(await value.read(), value.filename or "", media_type)


def _only_file(fields: Mapping[str, File | str], kind: object) -> object:
    files = [value for value in fields.values() if isinstance(value, File)]
    if len(files) != 1:
        raise UnfitError([_problem("form", f"A form with one file is needed, got {len(files)}.")])
    return _as_asked(files[0], kind)


def _problem(kind: str, message: str) -> dict[str, Any]:
    return {"type": kind, "loc": [], "msg": message}


def _unfit(error: ValidationError, *, include_input: bool) -> UnfitError:
    told = error.json(include_url=False, include_context=False, include_input=include_input)
    return UnfitError(json.loads(told))


def _decoder(route: TypedRoute) -> Callable[[bytes], Any]:
    """What reads JSON: msgspec where the whole body is its struct, else pydantic."""
    adapter: TypeAdapter[Any] = route.request
    marked = foreign(route.request_type)
    if marked is None or marked.media_type != "application/json":
        return adapter.validate_json
    import msgspec  # noqa: PLC0415 - the annotation is one of its types

    decoder = msgspec.json.Decoder(route.request_type)

    def decode(body: bytes) -> Any:
        try:
            return decoder.decode(body)
        except msgspec.DecodeError as error:
            problem = _problem("msgspec", str(error))
            problem["loc"] = _place(str(error))
            raise UnfitError([problem]) from error

    return decode


def _place(message: str) -> list[str]:
    """Where msgspec says that the problem is: ``... - at `$.text```."""
    path = message.partition("at `$")[2].partition("`")[0]
    return [part for part in path.replace("[", ".").replace("]", "").split(".") if part]
