"""What goes back: an answer as JSON or bytes, the pieces of a stream, a problem."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.types import Send

from ..errors import RequestError
from .foreign_types import Foreign
from .typed_routes import TypedRoute
from .wire_types import foreign

__all__ = ["Answers", "problem", "respond"]

_JSON = (b"content-type", b"application/json")


class Answers:
    """Makes bytes of one route's answers, or of their pieces.

    Attributes:
        media_type: What they are, unless the caller asks for the bytes of an array.
        encode: An answer, held to its declared type, to bytes.
    """

    def __init__(self, route: TypedRoute) -> None:
        self._foreign = foreign(route.answer_type)
        self.media_type = (route.media_type or "application/json").encode()
        self.encode = _encoder(route, self._foreign)

    def encode_for(self, accept: bytes, answer: object) -> tuple[bytes, bytes]:
        """Return the answer's bytes and what they are."""
        marked = self._foreign
        if marked is not None and marked.media_type.encode() in accept:
            return marked.to_bytes(answer, marked.media_type), marked.media_type.encode()
        return self.encode(answer), self.media_type


def _encoder(route: TypedRoute, marked: Foreign | None) -> Callable[[Any], bytes]:
    if route.media_type is not None:
        return _raw(route, marked)
    if marked is not None and marked.media_type == "application/json":
        return _by_msgspec(route)
    # The adapter's own methods put every option they know between.
    validate, dump = route.answer.validator.validate_python, route.answer.serializer.to_json

    def encode(answer: Any) -> bytes:
        # What the schema says is what comes.
        return dump(validate(answer), warnings="error")

    return encode


def _raw(route: TypedRoute, marked: Foreign | None) -> Callable[[Any], bytes]:
    media_type = route.media_type or ""

    def encode(answer: Any) -> bytes:
        checked = route.answer.validate_python(answer, strict=True)
        return checked if marked is None else marked.to_bytes(checked, media_type)

    return encode


def _by_msgspec(route: TypedRoute) -> Callable[[Any], bytes]:
    import msgspec  # noqa: PLC0415 - the annotation is one of its types

    encoder, kind = msgspec.json.Encoder(), route.answer_type

    def encode(answer: Any) -> bytes:
        # A struct's constructor checks nothing, so what it holds is checked here.
        checked = msgspec.convert(msgspec.to_builtins(answer), kind)
        return encoder.encode(checked)

    return encode


async def respond(
    send: Send,
    status: int,
    body: bytes,
    media_type: bytes = b"application/json",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """Send a whole answer."""
    kind = _JSON if media_type == b"application/json" else (b"content-type", media_type)
    length = (b"content-length", b"%d" % len(body))
    await send(
        {"type": "http.response.start", "status": status, "headers": [kind, length, *headers]}
    )
    await send({"type": "http.response.body", "body": body})


def problem(error: RequestError | str, status: int = 500) -> Mapping[str, Any]:
    """The keywords of `respond` for an error that the caller may read."""
    if isinstance(error, str):
        return {"status": HTTPStatus(status), "body": json.dumps({"detail": error}).encode()}
    after = error.retry_after_s
    headers = ((b"retry-after", b"%d" % after),) if after is not None else ()
    body = json.dumps({"detail": str(error)}).encode()
    return {"status": error.status, "body": body, "headers": headers}
