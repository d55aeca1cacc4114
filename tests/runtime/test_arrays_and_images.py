"""Arrays inside of models, with their shapes and encodings, and images, through a real server."""

from __future__ import annotations

import base64
import io
import socket
import zlib
from dataclasses import dataclass
from typing import Annotated

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from openapi_spec_validator import validate
from PIL import Image
from pydantic import BaseModel, ConfigDict, TypeAdapter

from modalkit import Array, Endpoint, File, Picture, endpoint
from modalkit.declare.routes import Route
from modalkit.errors import DeclarationError
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.custom_server import CustomServer
from modalkit.runtime.openapi import openapi_schema
from modalkit.runtime.typed_routes import typed_route

Points = Annotated[NDArray[np.float32], Array(shape=(None, 2))]
Packed = Annotated[NDArray[np.uint8], Array(encoding="base64")]


class Scene(BaseModel):
    name: str
    points: Points
    mask: Packed | None = None


class Shot(BaseModel):
    """A model with an image, and other things that a form may bring."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    name: str
    picture: Annotated[Image.Image, Picture(format="webp")]
    zoom: float = 1.0
    tags: list[str] = []
    mask: Packed | None = None
    raw: bytes | None = None


class Corner(BaseModel):
    left: int
    top: int


@dataclass
class Found:
    centre: Annotated[NDArray[np.float64], Array(shape=(2,))]
    mask: Packed


class Service:
    """One route of each kind."""

    weights = None

    def load(self) -> None: ...
    def wake(self) -> None: ...
    def warm_up(self) -> None: ...
    def unload(self) -> None: ...

    @endpoint("/centre")
    async def centre(self, scene: Scene) -> Found:
        mask = np.zeros((1, 2), np.uint8) if scene.mask is None else scene.mask
        return Found(scene.points.mean(axis=0).astype(np.float64), mask)

    @endpoint("/wrong")
    async def wrong(self, scene: Scene) -> Scene:
        return scene.model_copy(update={"points": scene.points.T})

    @endpoint("/area")
    async def area(self, points: Points) -> float:
        return float(np.prod(points.max(axis=0) - points.min(axis=0)))

    @endpoint("/thumbnail")
    async def thumbnail(self, picture: Image.Image, size: int = 2) -> Image.Image:
        return picture.resize((size, size))

    @endpoint("/jpeg", media_type="image/jpeg")
    async def jpeg(self, picture: Image.Image) -> Image.Image:
        return picture.convert("RGB")

    @endpoint("/shot")
    async def shot(self, shot: Shot) -> Shot:
        return shot

    @endpoint("/crop")
    async def crop(
        self, picture: Image.Image, corner: Corner, note: str | None = None
    ) -> tuple[int, int, int, str | None]:
        return (*picture.size, corner.left + corner.top, note)

    @endpoint("/several")
    async def several(
        self,
        files: list[File],
        pictures: list[Image.Image] | None = None,
        numbers: tuple[int, ...] = (),
    ) -> tuple[list[str], int, int]:
        return [one.name for one in files], len(pictures or ()), sum(numbers)

    @endpoint("/photo")
    async def photo(self, picture: Image.Image) -> Annotated[Image.Image, Picture(format="jpeg")]:
        return picture

    @endpoint("/pixels")
    async def pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(picture)


ROUTES = {name: value for name, value in vars(Service).items() if isinstance(value, Route)}


@pytest.fixture(scope="module")
def client():
    """A client of the service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rules = Endpoint(kind="server", public=True, port=port, access_log="off")
    server = CustomServer(CustomHost(Service(), ROUTES), rules)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as one:
        yield one
    server.stop()


def npy(array) -> bytes:
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


def in_base64(array) -> str:
    return base64.b64encode(npy(array)).decode()


def header(text: str) -> bytes:
    """How numpy.save begins, with a header of one's own."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def archive() -> bytes:
    written = io.BytesIO()
    np.savez(written, points=np.ones((3, 2)))
    return written.getvalue()


def png(colour=(255, 0, 0)) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(written, "PNG")
    return written.getvalue()


# ── arrays ──────────────────────────────────────────────────────────────────────────────────────


def test_arrays_inside_a_model_come_and_go(client):
    """Nested lists and numpy's own file in base64 are arrays with their dtype and shape."""
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    sent = {"name": "a", "points": [[0, 0], [1, 3]], "mask": in_base64(mask)}
    got = client.post("/centre", json=sent).json()
    assert got["centre"] == [0.5, 1.5]
    back = np.load(io.BytesIO(base64.b64decode(got["mask"])))
    assert (back.dtype, back.tolist()) == (np.uint8, mask.tolist())
    bare = client.post("/centre", json={"name": "a", "points": [[1, 1]]})
    assert bare.status_code == 200


@pytest.mark.parametrize(
    ("points", "mask", "place", "says"),
    [
        ([[1, 2, 3]], None, "points", "its shape is (1, 3), and (None, 2) is asked for"),
        ([1, 2], None, "points", "its shape is (2,), and (None, 2) is asked for"),
        ([["x", 1]], None, "points", "could not convert"),
        ([[1, 2]], [[1]], "mask", "no base64 of what numpy.save writes"),
        ([[1, 2]], "AAAA", "mask", ""),
        ([[1, 2]], in_base64(np.array([300])), "mask", "some of its numbers are no uint8"),
    ],
)
def test_an_array_that_does_not_fit_is_a_422_with_its_place(client, points, mask, place, says):
    """Shape, dtype and encoding are checked before the model sees anything."""
    got = client.post("/centre", json={"name": "a", "points": points, "mask": mask})
    assert got.status_code == 422
    (problem,) = got.json()["detail"]
    assert problem["loc"][:2] == ["body", place]
    assert says in problem["msg"]


SHAPED = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n"


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04",
        archive(),
        b"\x93NUMP",
        b"\x93NUMPY",
        header("{'descr'\n"),
        header(SHAPED % "(1, 2)"),
        header(SHAPED % f"({10**14}, 2)"),
        header(SHAPED % f"({10**30}, 2)"),
    ],
)
def test_a_file_that_numpy_did_not_save_is_a_422(client, content):
    """Whatever numpy makes of a stranger's bytes, they are the sender's mistake."""
    headers = {"content-type": "application/x-npy"}
    got = client.post("/area", content=content, headers=headers)
    assert got.status_code == 422
    assert "nothing that numpy.save writes" in got.json()["detail"][0]["msg"]
    sent = {"name": "a", "points": [[1, 1]], "mask": base64.b64encode(content).decode()}
    assert client.post("/centre", json=sent).status_code == 422
    whole = header(SHAPED % "(1, 2)") + bytes(8)
    assert client.post("/area", content=whole, headers=headers).json() == 0


def test_records_are_no_numbers(client):
    """What numpy cannot cast is refused with its dtype; one field of numbers can be cast."""
    headers = {"content-type": "application/x-npy"}
    two, one = (np.zeros((1, 2), [(name, "f4") for name in names]) for names in ("ab", "a"))
    got = client.post("/area", content=npy(two), headers=headers)
    assert got.status_code == 422
    assert "of which no float32 can be made" in got.json()["detail"][0]["msg"]
    assert client.post("/area", content=npy(one), headers=headers).json() == 0


def test_a_parameter_may_say_its_shape_too(client):
    """Where the whole body is one array its shape counts as well, whatever it came as."""
    assert client.post("/area", json=[[0, 0], [2, 3]]).json() == 6
    headers = {"content-type": "application/x-npy"}
    assert client.post("/area", content=npy(np.ones((3, 2))), headers=headers).json() == 0
    assert client.post("/area", content=npy(np.ones((2, 3))), headers=headers).status_code == 422


def test_the_schema_tells_shape_and_encoding():
    """An OpenAPI client knows how long each axis is and what is base64."""
    routes = [typed_route(name, route) for name, route in ROUTES.items()]
    schema = openapi_schema("Service", "", routes, "", asks_key=False)
    validate(schema)
    told = schema["components"]["schemas"]["Scene"]["properties"]
    row = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    assert (told["points"]["type"], told["points"]["items"]) == ("array", row)
    packed, nothing = told["mask"]["anyOf"]
    assert (packed["type"], packed["format"]) == ("string", "byte")
    assert nothing == {"type": "null"}


DTYPES = st.sampled_from([np.float32, np.float64, np.int16, np.uint8, np.bool_])
SHAPES = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple)


@given(DTYPES, SHAPES, st.integers(0, 2**31), st.booleans())
def test_law_what_goes_out_comes_in_again(dtype, shape, seed, packed):
    """An array that went through JSON is the same, by nested lists and by base64."""
    array = (np.random.default_rng(seed).random(shape) * 200).astype(dtype)
    how = Array(encoding="base64" if packed else "lists")
    adapter = TypeAdapter(Annotated[NDArray[dtype], how])
    back = adapter.validate_json(adapter.dump_json(array))
    assert back.dtype == dtype
    assert back.ravel().tolist() == array.ravel().tolist()
    assert packed <= (back.shape == array.shape)


@pytest.mark.parametrize(
    "wrong", [{"shape": 3}, {"shape": (2, -1)}, {"shape": [2]}, {"encoding": "hex"}]
)
def test_a_shape_or_an_encoding_that_is_none_is_refused_where_it_is_written(wrong):
    """The mistake is told when the class body runs, with what to write."""
    with pytest.raises(DeclarationError, match="Write"):
        Array(**wrong)


def test_an_array_in_a_model_that_says_nothing_is_refused_with_what_to_write():
    """Arbitrary types alone have no schema; the message names the remedy."""

    class Loose(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        points: np.ndarray

    def loose(self, scene: Loose) -> int:
        return len(scene.points)

    loose.__annotations__ = {"scene": Loose, "return": int}
    with pytest.raises(DeclarationError, match=r"modalkit\.Array\(\)"):
        typed_route("loose", Route(loose, "/loose"))


# ── images ──────────────────────────────────────────────────────────────────────────────────────


def test_an_image_comes_as_a_file_a_form_or_base64(client):
    """The same picture by any of the three is the same to the model."""
    raw = png()
    as_file = client.post("/pixels", content=raw, headers={"content-type": "image/png"})
    as_form = client.post("/pixels", files={"picture": ("a.png", raw, "image/png")})
    as_json = client.post("/pixels", json=base64.b64encode(raw).decode())
    assert as_file.json() == as_form.json() == as_json.json()
    assert as_file.json()[0][0] == [255, 0, 0]


def test_an_image_goes_out_as_a_file(client):
    """An answer is PNG, or what media_type says."""
    sent = {"content": png((0, 0, 255)), "headers": {"content-type": "image/png"}}
    got = client.post("/thumbnail", files={"picture": ("a.png", png())}, data={"size": "3"})
    assert got.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(got.content)).size == (3, 3)
    jpeg = client.post("/jpeg", **sent)
    assert jpeg.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(jpeg.content)).format == "JPEG"


def test_what_is_no_image_is_a_422(client):
    """A file that cannot be read is the sender's mistake."""
    got = client.post("/jpeg", content=b"GIF89a", headers={"content-type": "image/gif"})
    assert got.status_code == 422
    assert "this is no image that can be read" in got.json()["detail"][0]["msg"]


def test_a_picture_that_would_fill_the_memory_is_a_422(client):
    """A few bytes that announce a gigabyte of pixels are refused before they are read."""
    honest = png()
    size = (20_000).to_bytes(4, "big") * 2
    chunk = b"IHDR" + size + honest[24:29]
    huge = honest[:12] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + honest[33:]
    kind = {"content-type": "image/png"}
    got = client.post("/pixels", content=huge, headers=kind)
    assert got.status_code == 422
    assert "this is no image that can be read" in got.json()["detail"][0]["msg"]
    assert client.post("/pixels", content=honest, headers=kind).status_code == 200


def test_an_image_inside_a_model_comes_and_goes_in_json(client):
    """Base64 of any image file is an image there, and goes out as what Picture() says."""
    sent = {"name": "a", "picture": base64.b64encode(png()).decode()}
    told = client.post("/shot", json=sent).json()
    back = Image.open(io.BytesIO(base64.b64decode(told["picture"])))
    assert (back.format, back.size) == ("WEBP", (4, 4))
    assert (told["name"], told["zoom"], told["mask"], told["raw"]) == ("a", 1.0, None, None)
    as_browsers_do = {**sent, "picture": f"data:image/png;base64,{sent['picture']}"}
    assert client.post("/shot", json=as_browsers_do).json() == told
    wrong = client.post("/shot", json={**sent, "picture": "AAAA"})
    assert wrong.status_code == 422
    assert wrong.json()["detail"][0]["loc"] == ["body", "picture"]


def test_a_form_brings_the_fields_of_a_model_its_images_as_files(client):
    """A model that is the whole body is a form's fields: text, JSON, and files for images and bytes."""
    mask = np.arange(6, dtype=np.uint8)
    told = client.post(
        "/shot",
        files={"picture": ("a.png", png()), "mask": npy(mask), "raw": ("r", b"\xff")},
        data={"name": "12", "zoom": "2.5", "tags": ["1", "b"]},
    ).json()
    assert (told["name"], told["zoom"], told["tags"]) == ("12", 2.5, ["1", "b"])
    assert told["mask"] == in_base64(mask)
    assert Image.open(io.BytesIO(base64.b64decode(told["picture"]))).size == (4, 4)
    assert base64.urlsafe_b64decode(told["raw"]) == b"\xff"
    one = client.post("/shot", files={"picture": ("a.png", png())}, data={"name": "a", "tags": "1"})
    assert one.json()["tags"] == ["1"]
    missing = client.post("/shot", files={"picture": ("a.png", png())}, data={"zoom": "2"})
    assert missing.json()["detail"][0]["loc"] == ["body", "name"]


@pytest.mark.parametrize("part", [None, "corner.json"])
def test_a_form_may_have_a_part_of_json_beside_an_image(client, part):
    """A parameter that is a model is a part of JSON, whether it is sent as a field or as a file."""
    corner = (part, b'{"left": 1, "top": 2}', "application/json")
    files = {"picture": ("a.png", png()), "corner": corner}
    assert client.post("/crop", files=files).json() == [4, 4, 3, None]
    assert client.post("/crop", files=files, data={"note": "7"}).json() == [4, 4, 3, "7"]
    files["corner"] = (part, b'{"left": 1}', "application/json")
    assert client.post("/crop", files=files).json()["detail"][0]["loc"] == ["body", "corner", "top"]


def test_a_form_may_bring_several_files_of_one_name(client):
    """All of them arrive, in their order, where a list is asked for; numbers likewise."""
    files = [("files", ("a", b"1")), ("files", ("b", b"2")), ("pictures", ("c.png", png()))]
    got = client.post("/several", files=files, data={"numbers": ["1", "2"]})
    assert got.json() == [["a", "b"], 1, 3]
    assert client.post("/several", files=files[:1]).json() == [["a"], 0, 0]
    assert client.post("/several", files=files[:1], data={"numbers": "[4, 5]"}).json()[2] == 9


def test_picture_says_what_an_answer_is(client):
    """An image that is the whole answer is of the format that its annotation names."""
    got = client.post("/photo", files={"picture": ("a.png", png())})
    assert got.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(got.content)).format == "JPEG"


def test_the_schema_tells_which_fields_of_a_form_are_files():
    """A generated client knows files, lists of them, and what must be there."""
    routes = [typed_route(name, route) for name, route in ROUTES.items()]
    schema = openapi_schema("Service", "", routes, "", asks_key=False)
    validate(schema)

    def form(path):
        body = schema["paths"][path]["post"]["requestBody"]["content"]
        return body["multipart/form-data"]["schema"]

    binary = {"type": "string", "format": "binary"}
    shot, several = form("/shot"), form("/several")
    assert [name for name, one in shot["properties"].items() if one == binary] == [
        "picture",
        "mask",
        "raw",
    ]
    assert shot["required"] == ["name", "picture"]
    assert several["properties"]["files"] == {"type": "array", "items": binary}
    assert several["properties"]["pictures"] == {"type": "array", "items": binary}
    assert several["required"] == ["files"]
    assert form("/crop")["properties"]["corner"] == {"$ref": "#/components/schemas/Corner"}
    assert schema["components"]["schemas"]["Shot"]["properties"]["picture"]["format"] == "byte"


def test_an_image_in_a_model_that_says_nothing_is_refused_with_what_to_write():
    """The nearest form that works is named."""

    class Loose(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        picture: Image.Image

    def loose(self, shot: Loose) -> int:
        return shot.picture.width

    loose.__annotations__ = {"shot": Loose, "return": int}
    with pytest.raises(DeclarationError, match=r"PIL\.Image\.Image, modalkit\.Picture\(\)"):
        typed_route("loose", Route(loose, "/loose"))


def test_a_picture_of_an_unknown_format_is_refused_where_it_is_written():
    """The mistake is told when the class body runs, with what to write."""
    with pytest.raises(DeclarationError, match="Write 'png', 'jpeg' or 'webp'"):
        Picture(format="jpg")
