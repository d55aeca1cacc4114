"""Pillow images over HTTP: their file as bytes, or in base64 in JSON."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Literal, TypeVar, get_args

from .._wording import one_of
from ..declare.files import File
from ..errors import DeclarationError
from .foreign_types import Foreign

__all__ = ["IMAGE_PIXELS", "REQUEST_PIXELS", "Picture", "within_pixels"]

Sent = TypeVar("Sent")
Read = TypeVar("Read")

IMAGE_PIXELS = 64_000_000
"""Pixels of the largest image that a request may bring: 256 MB where a pixel takes four bytes."""
REQUEST_PIXELS = 2 * IMAGE_PIXELS
"""Pixels of all the images of one request together."""

_Format = Literal["png", "jpeg", "webp"]
_FORMATS: tuple[str, ...] = get_args(_Format)
# A PNG of one pixel: what shows a reader, and a generator of requests, what is meant.
_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
)
# What a file can hold; Pillow refuses to write the rest.
_MODES: Mapping[str, frozenset[str]] = {
    "JPEG": frozenset({"1", "L", "RGB", "CMYK", "YCbCr"}),
    "PNG": frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}),
    "WEBP": frozenset({"RGB", "RGBA"}),
}
# Without going through RGB, which loses depth.
_NEAREST = {"I": "I;16", "La": "LA"}
_pixels_left: ContextVar[int | None] = ContextVar("_pixels_left", default=None)


def within_pixels(read: Callable[[Sent], Read], sent: Sent) -> Read:
    """Read what a request has sent, its images held to ``REQUEST_PIXELS`` together."""
    token = _pixels_left.set(REQUEST_PIXELS)
    try:
        return read(sent)
    finally:
        _pixels_left.reset(token)


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
            ValueError: It is none that can be read, or it has more pixels than ``IMAGE_PIXELS``, or
                the request's images than ``REQUEST_PIXELS``.
        """
        from PIL import Image  # noqa: PLC0415 - only where an annotation names it

        if isinstance(value, Image.Image):
            return value
        content = value.data if isinstance(value, File) else value
        if isinstance(content, str):
            if content.startswith("data:"):  # as browsers write a file
                content = content.partition(",")[2]
            content = base64.b64decode(content.replace("-", "+").replace("_", "/"), validate=True)
        unread = (OSError, TypeError, SyntaxError)
        bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content))
            announced = _pixels(image)
            _take(image, announced)
            image.load()
        except (*unread, *bombs) as error:
            msg = "this is no image that can be read"
            raise ValueError(msg) from error
        _take(image, _pixels(image) - announced)  # an icon may hold a larger one
        return image

    def dump(self, value: Any) -> Any:
        """Make its file in base64."""
        return base64.b64encode(self.to_bytes(value, self.media_type)).decode()

    def to_bytes(self, value: Any, media_type: str) -> bytes:
        """Make its file."""
        written = io.BytesIO()
        kind = media_type.partition("/")[2].upper()
        _holdable(value, kind).save(written, format=kind)
        return written.getvalue()


def _pixels(image: Any) -> int:
    width, height = image.size
    return int(width * height)


def _take(image: Any, pixels: int) -> None:
    """Count an image's pixels before, or beyond what was known before, it fills the memory."""
    if _pixels(image) > IMAGE_PIXELS:
        width, height = image.size
        msg = (
            f"this image has {width} by {height} pixels, more than the {IMAGE_PIXELS:,} that one may "
            "have; send it smaller"
        )
        raise ValueError(msg)
    left = _pixels_left.get()
    if left is None:
        return
    if pixels > left:
        msg = (
            f"with this image the request's images have {REQUEST_PIXELS - left + pixels:,} pixels, more than "
            f"the {REQUEST_PIXELS:,} that they may have together; send fewer, or smaller ones"
        )
        raise ValueError(msg)
    _pixels_left.set(left - pixels)


def _holdable(image: Any, kind: str) -> Any:
    """The image as the kind of file can hold it: what is transparent lies over white where it must."""
    modes = _MODES.get(kind)
    if modes is None or image.mode in modes:
        return image
    if image.mode in _NEAREST:
        return _holdable(image.convert(_NEAREST[image.mode]), kind)
    if not image.has_transparency_data:
        return image.convert("RGB")
    transparent = image.convert("RGBA")
    if "RGBA" in modes:
        return transparent
    from PIL import Image  # noqa: PLC0415 - only where an annotation names it

    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, transparent).convert("RGB")
