"""Types that pydantic does not know, made to come and go: arrays, images, msgspec structs.

None of their packages is imported here: whoever wrote the annotation has done so.
"""

from __future__ import annotations

import base64
import io
import sys
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic_core import core_schema

from ..declare.files import File

__all__ = ["COMPONENT", "Foreign", "as_known", "foreign"]

# Marks a schema in place that an OpenAPI document holds once, under this name.
COMPONENT = "x-modalkit-component"


class Foreign:
    """A type of another package: how it comes out of JSON and bytes, and goes into them.

    Attributes:
        media_type: What it is as bytes.
        schema: Its JSON schema.
    """

    media_type = "application/octet-stream"
    schema: dict[str, Any]

    def load(self, value: Any) -> Any:
        """Make the value of what JSON gave, of bytes or of a `File`.

        Raises:
            ValueError: It cannot be one.
        """
        raise NotImplementedError

    def dump(self, value: Any) -> Any:
        """Make what JSON takes of the value."""
        raise NotImplementedError

    def to_bytes(self, value: Any, media_type: str) -> bytes:
        """Make bytes of the value."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        dumped = core_schema.plain_serializer_function_ser_schema(self.dump, when_used="json")
        return core_schema.no_info_plain_validator_function(self.load, serialization=dumped)

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return self.schema


class _Array(Foreign):
    """A numpy array: nested lists in JSON, the npy format as bytes."""

    media_type = "application/x-npy"

    def __init__(self, dtype: Any) -> None:
        self._dtype = dtype
        self.schema = {"type": "array", "items": {}, "title": "Array"}
        if dtype is not None:
            self.schema["description"] = f"A (nested) list of {dtype}; all rows of one length."

    def load(self, value: Any) -> Any:
        import numpy as np  # noqa: PLC0415 - only where an annotation names it

        content = value.data if isinstance(value, File) else value
        if isinstance(content, bytes):
            array = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            array = np.asarray(content)
        if array.dtype == object:
            msg = "the rows are not of one length, or hold something that is no number"
            raise ValueError(msg)
        if self._dtype is None or array.dtype == self._dtype:
            return array
        cast = array.astype(self._dtype)
        if self._dtype.kind != "f" and not np.array_equal(cast, array):
            msg = f"some of its numbers are no {self._dtype}"
            raise ValueError(msg)
        return cast

    def dump(self, value: Any) -> Any:
        return value.tolist()

    def to_bytes(self, value: Any, _media_type: str) -> bytes:
        import numpy as np  # noqa: PLC0415 - as above

        written = io.BytesIO()
        np.save(written, np.asarray(value), allow_pickle=False)
        return written.getvalue()


class _Image(Foreign):
    """A Pillow image: its file as bytes, in base64 in JSON."""

    media_type = "image/png"

    def __init__(self) -> None:
        self.schema = {"type": "string", "format": "byte", "title": "Image"}

    def load(self, value: Any) -> Any:
        from PIL import Image  # noqa: PLC0415 - only where an annotation names it

        if isinstance(value, Image.Image):
            return value
        content = value.data if isinstance(value, File) else value
        if isinstance(content, str):
            content = base64.b64decode(content.replace("-", "+").replace("_", "/"), validate=True)
        try:
            image = Image.open(io.BytesIO(content))
            image.load()
        except (OSError, TypeError, SyntaxError) as error:
            msg = "this is no image that can be read"
            raise ValueError(msg) from error
        return image

    def dump(self, value: Any) -> Any:
        return base64.b64encode(self.to_bytes(value, self.media_type)).decode()

    def to_bytes(self, value: Any, media_type: str) -> bytes:
        written = io.BytesIO()
        value.save(written, format=media_type.partition("/")[2].upper())
        return written.getvalue()


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
    if not isinstance(base, type):
        return None
    numpy, pillow = sys.modules.get("numpy"), sys.modules.get("PIL.Image")
    msgspec = sys.modules.get("msgspec")
    if numpy is not None and issubclass(base, numpy.ndarray):
        return _Array(_dtype(hint))
    if pillow is not None and issubclass(base, pillow.Image):
        return _Image()
    if msgspec is not None and issubclass(base, msgspec.Struct):
        return _Struct(hint)
    return None


def _dtype(hint: Any) -> Any:
    """The dtype of ``np.ndarray[shape, np.dtype[np.float32]]``, which ``NDArray`` is; None of any."""
    import numpy as np  # noqa: PLC0415 - as above

    arguments = get_args(hint)
    kinds = get_args(arguments[1]) if len(arguments) > 1 else ()
    is_one = bool(kinds) and isinstance(kinds[0], type) and issubclass(kinds[0], np.generic)
    try:
        return np.dtype(kinds[0]) if is_one else None
    except TypeError:  # an abstract kind, such as np.floating
        return None


def as_known(hint: Any) -> Any:
    """The same type with every foreign one inside annotated so that pydantic knows it."""
    if (marked := foreign(hint)) is not None:
        return Annotated[hint, marked]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        known = as_known(arguments[0])
        return hint if known is arguments[0] else Annotated[(known, *arguments[1:])]
    if origin not in {list, tuple, dict, set, frozenset, Union, UnionType}:
        return hint
    known = tuple(as_known(argument) for argument in arguments)
    if all(new is old for new, old in zip(known, arguments, strict=True)):
        return hint
    return Union[known] if origin in {Union, UnionType} else origin[known]  # noqa: UP007 - a tuple of them
