"""What a request's body makes of the method's arguments, whatever kind of body it is.

JSON is the common case and the fast one: its bytes go straight to the validator. A form brings fields and
files by name (`forms`); any other body is the one parameter that can be made of bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..declare.files import File
from .form_fields import as_asked, is_file
from .forms import FormError, FormParts, Forms, form_parts
from .typed_routes import TypedRoute
from .wire_images import within_pixels
from .wire_types import foreign

__all__ = ["Arguments", "Bodies", "UnfitError"]

Sent = TypeVar("Sent")
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
        self._forms = Forms(route)
        kinds = list(route.fields.values()) or [route.request_type]
        self.takes_bytes = len(kinds) == 1 and is_file(kinds[0])
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
            try:
                return self._checked(self._of_form, await form_parts(content_type, body))
            except FormError as error:
                raise UnfitError([_problem("form", str(error), *error.place)]) from error
        if self.takes_bytes and body and not content_type.startswith(_JSON_LIKE):
            media_type = content_type.decode("latin-1") or "application/octet-stream"
            return self._validated_file(File(body, media_type=media_type))
        return self.arguments(body)

    def _validated_file(self, file: File) -> Arguments:
        validate = self._route.request.validate_python
        if not self._route.fields:
            return self._checked(validate, as_asked(file, self._route.request_type))
        ((name, kind),) = self._route.fields.items()
        return self._checked(validate, {name: as_asked(file, kind)})

    def _of_form(self, parts: FormParts) -> object:
        return self._route.request.validate_python(self._forms.read(parts))

    def _checked(self, read: Callable[[Sent], object], sent: Sent) -> Arguments:
        try:
            return self._route.arguments(within_pixels(read, sent))
        except ValidationError as error:  # what came may be megabytes, and no text
            raise _unfit(error, include_input=False) from error


def _problem(kind: str, message: str, *place: str) -> dict[str, Any]:
    return {"type": kind, "loc": list(place), "msg": message}


def _unfit(error: ValidationError, *, include_input: bool) -> UnfitError:
    tell = partial(error.json, include_url=False, include_context=False)
    try:
        told = tell(include_input=include_input)
    except ValueError:  # what came is no text
        told = tell(include_input=False)
    return UnfitError(json.loads(told))


def _decoder(route: TypedRoute) -> Callable[[bytes], Any]:
    """What reads JSON: msgspec where the whole body is its struct, else pydantic."""
    adapter: TypeAdapter[Any] = route.request
    marked = foreign(route.request_type)
    if marked is None or marked.media_type != "application/json":
        return partial(within_pixels, adapter.validator.validate_json)
    import msgspec  # noqa: PLC0415 - the annotation is one of its types

    decoder = msgspec.json.Decoder(route.request_type)

    def decode(body: bytes) -> Any:
        try:
            return decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnfitError([_problem("msgspec", str(error), *_place(str(error)))]) from error

    return decode


def _place(message: str) -> list[str]:
    """Where msgspec says that the problem is: ``... - at `$.text```."""
    path = message.partition("at `$")[2].partition("`")[0]
    return [part for part in path.replace("[", ".").replace("]", "").split(".") if part]
