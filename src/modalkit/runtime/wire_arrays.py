"""numpy arrays over HTTP: nested lists or a file in base64 in JSON, numpy's own format as bytes."""

from __future__ import annotations

import base64
import io
import math
from typing import Annotated, Any, Literal, get_args

from pydantic_core import core_schema

from ..declare.files import File
from ..errors import DeclarationError
from .foreign_types import Foreign

__all__ = ["Array"]

_JSON_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}
_ENCODINGS = ("lists", "base64")
_SHOWN = 1024  # most numbers of an example in the schema
_NPY = b"\x93NUMPY"  # how numpy.save begins; numpy.load takes archives and pickles too
_ANY: Any = object()  # a dtype that nobody has looked for yet


class Array(Foreign):
    """How a numpy array comes and goes, in a pydantic model, a dataclass or as a parameter.

    ``pixels: Annotated[NDArray[np.uint8], Array(shape=(28, 28))]``. A plain ``NDArray[...]`` as a
    parameter or an answer is ``Array()``; inside a model pydantic asks for it to be written.

    Args:
        shape: Its length along each axis, None for any. Default: any shape.
        encoding: What it is in JSON: ``"lists"``, nested lists of numbers, or ``"base64"``, what
            ``numpy.save`` writes, in base64, which keeps shape and dtype and is small. Default
            ``"lists"``.

    Raises:
        DeclarationError: A shape that is no tuple of lengths, another encoding.

    Examples:
        >>> Array(shape=(None, 3))
        Array(shape=(None, 3), encoding='lists')
        >>> Array(shape=28)
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Array(shape=28) needs a length or None for each axis. Write Array(shape=(28,)).
    """

    media_type = "application/x-npy"

    def __init__(
        self,
        *,
        shape: tuple[int | None, ...] | None = None,
        encoding: Literal["lists", "base64"] = "lists",
    ) -> None:
        _check_shape(shape)
        if encoding not in _ENCODINGS:
            msg = f"Array(encoding={encoding!r}) is none. Write 'lists' or 'base64'."
            raise DeclarationError(msg)
        self.shape, self.encoding = shape, encoding
        self._dtype: Any = _ANY

    def __repr__(self) -> str:
        return f"Array(shape={self.shape!r}, encoding={self.encoding!r})"

    def of(self, kind: Any) -> Array:
        """Return the same for an array of a type such as ``NDArray[np.float32]``."""
        bound = Array(shape=self.shape, encoding=self.encoding)
        bound._dtype = _dtype(kind)
        bound.schema = bound._as_base64() if self.encoding == "base64" else bound._as_lists()
        return bound

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        if self._dtype is not _ANY:
            return super().__get_pydantic_core_schema__(source, handler)
        known: core_schema.CoreSchema = handler.generate_schema(Annotated[source, self.of(source)])
        return known

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        if self._dtype is not _ANY:
            return super().__get_pydantic_json_schema__(schema, handler)
        told: dict[str, Any] = handler(schema)  # what knows the dtype, inside
        return told

    def load(self, value: Any) -> Any:
        """Make an array of nested lists, of npy bytes or of an array.

        Raises:
            ValueError: It is none of this dtype and shape.
        """
        return self._shaped(self._cast(self._read(value)))

    def dump(self, value: Any) -> Any:
        """Make nested lists, or a file in base64."""
        if self.encoding == "base64":
            return base64.b64encode(self.to_bytes(value, self.media_type)).decode()
        return value.tolist()

    def to_bytes(self, value: Any, _media_type: str) -> bytes:
        """Make what ``numpy.save`` writes."""
        import numpy as np  # noqa: PLC0415 - only where an annotation names it

        written = io.BytesIO()
        np.save(written, np.asarray(value), allow_pickle=False)
        return written.getvalue()

    def _read(self, value: Any) -> Any:
        import numpy as np  # noqa: PLC0415 - as above

        content = value.data if isinstance(value, File) else value
        if isinstance(content, str) and self.encoding == "base64":
            content = base64.b64decode(content.replace("-", "+").replace("_", "/"), validate=True)
        if isinstance(content, bytes):
            return _loaded(content)
        if self.encoding == "base64" and not isinstance(content, np.ndarray):
            msg = "this is no base64 of what numpy.save writes"
            raise ValueError(msg)
        return np.asarray(content)

    def _cast(self, array: Any) -> Any:
        import numpy as np  # noqa: PLC0415 - as above

        if array.dtype == object:
            msg = "the rows are not of one length, or hold something that is no number"
            raise ValueError(msg)
        if self._dtype is None or array.dtype == self._dtype:
            return array
        try:
            cast = array.astype(self._dtype)
            fits = self._dtype.kind == "f" or np.array_equal(cast, array)
        except (TypeError, MemoryError) as error:  # records, for one
            msg = f"it holds {array.dtype}, of which no {self._dtype} can be made"
            raise ValueError(msg) from error
        if not fits:
            msg = f"some of its numbers are no {self._dtype}"
            raise ValueError(msg)
        return cast

    def _shaped(self, array: Any) -> Any:
        if self.shape is None:
            return array
        fits = len(array.shape) == len(self.shape) and all(
            asked is None or length == asked
            for length, asked in zip(array.shape, self.shape, strict=True)
        )
        if not fits:
            msg = f"its shape is {array.shape}, and {self.shape} is asked for"
            raise ValueError(msg)
        return array

    def _as_base64(self) -> dict[str, Any]:
        import numpy as np  # noqa: PLC0415 - as above

        told = f"What numpy.save writes of {self._told()}, in base64."
        shape = tuple(1 if length is None else length for length in self.shape or (1,))
        schema = {"type": "string", "format": "byte", "title": "Array", "description": told}
        if math.prod(shape) > _SHOWN:
            return schema
        return {**schema, "examples": [self.dump(np.zeros(shape, self._dtype))]}

    def _as_lists(self) -> dict[str, Any]:
        kind = _JSON_KINDS.get(self._dtype.kind) if self._dtype is not None else None
        innermost: dict[str, Any] = {"type": kind} if kind else {}
        if self.shape is None:  # any depth
            items = {"anyOf": [innermost, {"type": "array", "items": {}}]} if kind else {}
            schema: dict[str, Any] = {"type": "array", "items": items}
        else:
            schema = innermost
            for length in reversed(self.shape):
                limits = {} if length is None else {"minItems": length, "maxItems": length}
                schema = {"type": "array", "items": schema, **limits}
        told = f"A (nested) list of {self._told()}; all rows of one length."
        return {**schema, "title": "Array", "description": told}

    def _told(self) -> str:
        kind = "numbers" if self._dtype is None else str(self._dtype)
        return kind if self.shape is None else f"{kind}, {_written(self.shape)}"


def _loaded(content: bytes) -> Any:
    """The array of a file, which a stranger may have written.

    Raises:
        ValueError: It is none of numpy's own.
    """
    import numpy as np  # noqa: PLC0415 - as above

    msg = "this is nothing that numpy.save writes"
    if not content.startswith(_NPY):
        raise ValueError(msg)
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # its header is Python, and breaks in as many ways
        raise ValueError(msg) from error


def _written(shape: tuple[int | None, ...]) -> str:
    return " by ".join("any number" if length is None else str(length) for length in shape)


def _check_shape(shape: object) -> None:
    if shape is None:
        return
    if isinstance(shape, tuple) and all(_is_length(length) for length in shape):
        return
    right = f"({shape},)" if _is_length(shape) and shape is not None else "(None, 3)"
    msg = (
        f"Array(shape={shape!r}) needs a length or None for each axis. Write Array(shape={right})."
    )
    raise DeclarationError(msg)


def _is_length(length: object) -> bool:
    return length is None or (type(length) is int and length >= 0)


def _dtype(kind: Any) -> Any:
    """The dtype of ``np.ndarray[shape, np.dtype[np.float32]]``, which ``NDArray`` is; None of any."""
    import numpy as np  # noqa: PLC0415 - as above

    arguments = get_args(kind)
    kinds = get_args(arguments[1]) if len(arguments) > 1 else ()
    is_one = bool(kinds) and isinstance(kinds[0], type) and issubclass(kinds[0], np.generic)
    try:
        return np.dtype(kinds[0]) if is_one else None
    except TypeError:  # an abstract kind, such as np.floating
        return None
