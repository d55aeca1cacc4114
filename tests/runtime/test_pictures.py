"""Images that come in within a budget of pixels, and go out in a file that can hold them."""

from __future__ import annotations

import asyncio
import base64
import io
import struct
import zlib

import httpx
import pytest
from PIL import Image

from modalkit import Picture
from modalkit.declare.routes import Route
from modalkit.runtime.request_bodies import Bodies, UnfitError
from modalkit.runtime.typed_routes import typed_route
from modalkit.runtime.wire_images import IMAGE_PIXELS, REQUEST_PIXELS, within_pixels


def album(self, pictures: list[Image.Image]) -> int: ...


album.__annotations__ = {"pictures": list[Image.Image], "return": int}
BODIES = Bodies(typed_route("album", Route(album, "/album")))


def png(width: int, height: int) -> bytes:
    written = io.BytesIO()
    Image.new("1", (width, height)).save(written, "PNG")
    return written.getvalue()


def announcing(width: int, height: int) -> bytes:
    """A few bytes that say they are a large picture."""
    honest = png(1, 1)
    chunk = b"IHDR" + struct.pack(">II", width, height) + honest[24:29]
    return honest[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + honest[33:]


def icon(content: bytes) -> bytes:
    """An icon that says it is of 16 by 16 pixels, whatever the picture that it holds."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(content), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + content


def as_form(images: list[bytes]) -> list[Image.Image]:
    files = [("pictures", ("a.png", one, "image/png")) for one in images]
    request = httpx.Request("POST", "http://here", files=files)
    read = BODIES.read(request.headers["content-type"].encode(), request.read())
    return asyncio.run(read)[1]["pictures"]


def as_json(images: list[bytes]) -> list[Image.Image]:
    texts = ",".join(f'"{base64.b64encode(one).decode()}"' for one in images)
    return BODIES.arguments(f'{{"pictures": [{texts}]}}'.encode())[1]["pictures"]


@pytest.mark.parametrize("send", [as_form, as_json])
def test_an_image_beyond_the_budget_is_refused_before_it_is_decoded(send):
    """Below what Pillow itself refuses; the problem names the place, the size and the remedy."""
    assert IMAGE_PIXELS < 8001 * 8000
    with pytest.raises(UnfitError) as caught:
        send([png(1, 1), announcing(8001, 8000)])
    (problem,) = caught.value.problems
    assert problem["loc"] == ["pictures", 1]
    assert "8001 by 8000 pixels, more than the 64,000,000" in problem["msg"]
    assert "send it smaller" in problem["msg"]


@pytest.mark.parametrize("send", [as_form, as_json])
def test_the_images_of_one_request_share_a_budget(send):
    """Many that are small enough alone are too many together; the next request starts anew."""
    content = png(7000, 7000)
    assert 2 * 49_000_000 < REQUEST_PIXELS < 3 * 49_000_000
    with pytest.raises(UnfitError) as caught:
        send([content] * 3)
    (problem,) = caught.value.problems
    assert problem["loc"] == ["pictures", 2]
    assert "147,000,000 pixels, more than the 128,000,000" in problem["msg"]
    assert "send fewer, or smaller ones" in problem["msg"]
    assert len(send([content] * 2)) == 2


def test_an_icon_is_counted_by_the_picture_that_it_holds():
    """What it announces is 16 by 16, whatever it is once it is decoded."""
    (small,) = as_form([icon(png(16, 16))])
    assert small.size == (16, 16)
    with pytest.raises(UnfitError) as caught:
        as_form([icon(png(8001, 8000))])
    assert "8001 by 8000" in caught.value.problems[0]["msg"]


def test_the_budget_of_a_request_is_no_method_s():
    """Outside of a request only the limit of one image counts."""
    content = png(7000, 7000)
    for _ in range(3):
        assert Picture().load(content).size == (7000, 7000)
    assert within_pixels(Picture().load, content).size == (7000, 7000)


MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB", "I")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("mode", [*MODES, "F", "I;16"])
def test_every_mode_of_an_image_can_be_written(kind, mode):
    """A method may answer any image, whatever its route writes it as."""
    image = Image.new(mode, (4, 3))
    written = Image.open(io.BytesIO(Picture(format=kind).to_bytes(image, f"image/{kind}")))
    written.load()
    assert (written.format, written.size) == (kind.upper(), (4, 3))


def test_the_depth_of_a_picture_outlives_a_png():
    """Whole numbers beyond a byte, as of a depth map, are not cut to one."""
    back = Image.open(io.BytesIO(Picture().to_bytes(Image.new("I", (8, 8), 40_000), "image/png")))
    assert back.getpixel((4, 4)) == 40_000


def palette() -> Image.Image:
    """Its one colour is transparent."""
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0])
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize(
    "image",
    [Image.new("RGBA", (8, 8), (255, 0, 0, 0)), Image.new("LA", (8, 8), (0, 0)), palette()],
    ids=lambda image: image.mode,
)
def test_what_is_transparent_is_white_in_a_jpeg_and_transparent_in_a_png(image):
    """Only where a file cannot hold it does transparency go."""
    jpeg = Image.open(io.BytesIO(Picture(format="jpeg").to_bytes(image, "image/jpeg")))
    assert min(jpeg.convert("RGB").getpixel((4, 4))) > 250
    back = Image.open(io.BytesIO(Picture().to_bytes(image, "image/png"))).convert("RGBA")
    assert back.getpixel((4, 4))[3] == 0


def test_what_a_jpeg_holds_is_written_as_it_is():
    """A picture of four inks is not converted on its way."""
    inks = Image.new("CMYK", (8, 8))
    assert Image.open(io.BytesIO(Picture().to_bytes(inks, "image/jpeg"))).mode == "CMYK"
    assert Image.open(io.BytesIO(Picture().to_bytes(inks, "image/png"))).mode == "RGB"
