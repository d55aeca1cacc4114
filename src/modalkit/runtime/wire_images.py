"""Pillow images over HTTP: their file as bytes, or in base64 in JSON."""

from __future__ import annotations

import base64
import io
from typing import Any, Literal, get_args

from .._wording import one_of
from ..declare.files import File
from ..errors import DeclarationError
from .foreign_types import Foreign

__all__ = ["Picture"]

_Format = Literal["png", "jpeg", "webp"]
_FORMATS: tuple[str, ...] = get_args(_Format)
# A PNG of one pixel: what shows a reader, and a generator of requests, what is meant.
_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
)


class Picture(Foreign):
    """How a Pillow image comes and goes, in a pydantic model, a dataclass or as a parameter.

    ``photo: Annotated[PIL.Image.Image, Picture()]``. A plain ``PIL.Image.Image`` as a parameter or an
    answer is ``Picture()``; inside a model pydantic asks for it to be written. Any file that Pillow reads
    comes in: in JSON as base64, in a form as a file.

    Args:
        format: What one is written as: ``"png"``, ``"jpeg"`` or ``"webp"``. Default ``"png"``.

    Raises:
        DeclarationError: Another format.

    Examples:
        >>> Picture(format="jpeg")
        Picture(format='jpeg')
        >>> Picture(format="jpg")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Picture(format='jpg') is none. Write 'png', 'jpeg' or 'webp'.
    """

    def __init__(self, *, format: _Format = "png") -> None:  # noqa: A002 - Pillow's word for it
        if format not in _FORMATS:
            msg = f"Picture(format={format!r}) is none. Write {one_of(map(repr, _FORMATS))}."
            raise DeclarationError(msg)
        self.format = format
        self.media_type = f"image/{format}"
        self.schema = {
            "type": "string",
            "format": "byte",
            "title": "Image",
            "description": "An image file in base64.",
            "examples": [_PIXEL],
        }

    def __repr__(self) -> str:
        return f"Picture(format={self.format!r})"

    def load(self, value: Any) -> Any:
        """Make an image of its file, of base64 or of an image.

        Raises:
            ValueError: It is none that can be read.
        """
        from PIL import Image  # noqa: PLC0415 - only where an annotation names it

        if isinstance(value, Image.Image):
            return value
        content = value.data if isinstance(value, File) else value
        if isinstance(content, str):
            content = base64.b64decode(content.replace("-", "+").replace("_", "/"), validate=True)
        try:
            image = Image.open(io.BytesIO(content))
            image.load()
        except (OSError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
            msg = "this is no image that can be read"
            raise ValueError(msg) from error
        return image

    def dump(self, value: Any) -> Any:
        """Make its file in base64."""
        return base64.b64encode(self.to_bytes(value, self.media_type)).decode()

    def to_bytes(self, value: Any, media_type: str) -> bytes:
        """Make its file."""
        written = io.BytesIO()
        value.save(written, format=media_type.partition("/")[2].upper())
        return written.getvalue()
