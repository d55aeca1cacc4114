"""Forms: what each part is made into, and how the schema tells a form's fields."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any

import httpx
import msgspec
import pytest
import typing_extensions
from openapi_spec_validator import validate
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic.dataclasses import dataclass, rebuild_dataclass

from modalkit import File, endpoint
from modalkit.declare.routes import Route
from modalkit.runtime.form_fields import form_fields
from modalkit.runtime.openapi import openapi_schema
from modalkit.runtime.request_bodies import Bodies, UnfitError
from modalkit.runtime.typed_routes import typed_route


class Corner(BaseModel):
    """What comes may leave out what goes out, so that there are two schemas of it."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)
    left: int
    top: int = 0


class Upload(typing_extensions.TypedDict):
    name: str
    file: typing_extensions.NotRequired[typing_extensions.ReadOnly[bytes]]
    count: typing_extensions.Required[int]


class Renamed(msgspec.Struct, rename="camel"):
    first_number: int
    second_text: str


class Nested(msgspec.Struct):
    anything: Any


class Service:
    """Routes whose forms differ."""

    @endpoint("/fields")
    async def fields(
        self,
        *,
        texts: list[str] | None = None,
        sure: list[str] = [],  # noqa: B006 - nothing changes it
        numbers: list[int] | None = None,
        either: str | list[str] = "",
        count: int | list[int] = 0,
        maybe: list[int | None] | None = None,
        word: str | int = 0,
        name: str | None = None,
    ) -> None: ...

    @endpoint("/cut")
    async def cut(self, file: File, corner: Corner) -> Corner: ...

    @endpoint("/upload")
    async def upload(self, upload: Upload) -> int: ...

    @endpoint("/renamed")
    async def renamed(self, body: Renamed) -> int: ...

    @endpoint("/nested")
    async def nested(self, body: Nested) -> int: ...


ROUTES = {name: value for name, value in vars(Service).items() if isinstance(value, Route)}


def sent(name: str, data: Any = None, files: Any = (), of: Any = ROUTES) -> Any:
    """The arguments that the route makes of a form, as httpx writes it."""
    parts = [(key, (None, text)) for key, several in (data or {}).items() for text in several]
    request = httpx.Request("POST", "http://here", files=[*parts, *files])
    body = Bodies(typed_route(name, of[name]))
    return asyncio.run(body.read(request.headers["content-type"].encode(), request.read()))


@pytest.mark.parametrize(
    ("field", "parts", "made"),
    [
        ("texts", ['["a", "b"]'], ["a", "b"]),
        ("texts", ["[]"], []),
        ("texts", ["hello"], ["hello"]),
        ("texts", ["[draft]"], ["[draft]"]),
        ("texts", ["1", "true"], ["1", "true"]),
        ("texts", ['["a"]', "b"], ['["a"]', "b"]),
        ("texts", ["null"], None),
        ("sure", ["null"], ["null"]),
        ("sure", ['{"a": 1}'], ['{"a": 1}']),
        ("numbers", ["null"], None),
        ("numbers", ["5"], [5]),
        ("numbers", ["[4, 5]"], [4, 5]),
        ("numbers", ["4", "5"], [4, 5]),
        ("maybe", ["null", "1"], [None, 1]),
        ("either", ["x"], "x"),
        ("either", ["5"], "5"),
        ("either", ['["x"]'], ["x"]),
        ("either", ["x", "5"], ["x", "5"]),
        ("count", ["5"], 5),
        ("count", ["[5]"], [5]),
        ("count", ["5", "6"], [5, 6]),
        ("word", ["5"], 5),
        ("word", ["five"], "five"),
        ("name", ["null"], "null"),
        ("name", ["5"], "5"),
    ],
)
def test_a_part_is_what_its_field_takes(field, parts, made):
    """A lone part that is a list as JSON is that list; else it is one of a list only where it must be."""
    _, keywords = sent("fields", {field: parts})
    assert keywords[field] == made


def test_what_does_not_fit_names_its_field():
    """A list of numbers is none of words, however the words came."""
    for parts in (["one"], ['["one"]'], ["1", "one"]):
        with pytest.raises(UnfitError) as caught:
            sent("fields", {"numbers": parts})
        assert caught.value.problems[0]["loc"][0] == "numbers"


@pytest.mark.parametrize("field", ["numbers", "sure", "count"])
def test_json_that_nests_too_deep_is_the_senders_mistake(field):
    """Python's limit is no failure of the service; the problem names the field and what to do."""
    with pytest.raises(UnfitError) as caught:
        sent("fields", {field: ["[" * 100_000]})
    (problem,) = caught.value.problems
    assert problem["loc"] == [field]
    assert "100,000 characters" in problem["msg"]
    assert "Nest it less deep" in problem["msg"]


def test_json_that_is_broken_off_is_text():
    """Where a text is asked for, what is no JSON is one."""
    assert sent("fields", {"sure": ["[[["]})[1]["sure"] == ["[[["]


def test_a_struct_that_nests_too_deep_is_the_senders_mistake():
    """The same of a whole body of JSON that msgspec reads."""
    bodies = Bodies(typed_route("nested", ROUTES["nested"]))
    with pytest.raises(UnfitError):
        bodies.arguments(b'{"anything": ' + b"[" * 100_000)
    assert bodies.arguments(b'{"anything": [[]]}') == ((Nested([[]]),), {})


def test_a_typed_dict_is_a_body_whose_files_may_be_left_out():
    """NotRequired, Required and ReadOnly say nothing of what a field is made of."""
    files = [("file", ("a.bin", b"\xff\x00"))]
    ((upload,), _) = sent("upload", {"name": ["7"], "count": ["3"]}, files)
    assert upload == {"name": "7", "file": b"\xff\x00", "count": 3}
    ((without,), _) = sent("upload", {"name": ["a"], "count": ["3"]})
    assert without == {"name": "a", "count": 3}
    fields = form_fields(typed_route("upload", ROUTES["upload"]))
    assert {name: one.is_file for name, one in fields.items()} == {
        "name": False,
        "file": True,
        "count": False,
    }
    assert [name for name, one in fields.items() if one.is_needed] == ["name", "count"]


def test_a_structs_fields_are_sent_under_their_encoded_names():
    """What msgspec renames is called so in a form too."""
    ((renamed,), _) = sent("renamed", {"firstNumber": ["5"], "secondText": ["6"]})
    assert renamed == Renamed(5, "6")


def test_hints_that_python_cannot_resolve_do_not_stop_a_route():
    """A name that pydantic alone finds leaves the form without known fields, and JSON as it was."""

    class Inner(BaseModel):
        left: int

    @dataclass
    class Outer:
        inner: Inner

    assert rebuild_dataclass(Outer, _types_namespace={"Inner": Inner})

    def route(self, outer: Outer) -> int: ...

    route.__annotations__ = {"outer": Outer, "return": int}
    typed = typed_route("route", Route(route, "/route"))
    assert form_fields(typed) == {}
    ((made,), _) = Bodies(typed).arguments(b'{"inner": {"left": 2}}')
    assert made.inner.left == 2


def references(part: Any) -> set[str]:
    if isinstance(part, list):
        return set().union(*map(references, part))
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
    return own.union(*map(references, part.values()))


def test_a_form_refers_to_schemas_that_are_there():
    """A model that differs coming and going has two names; the form has the one that comes."""
    routes = [typed_route(name, route) for name, route in ROUTES.items()]
    schema = openapi_schema("Service", "", routes, "", asks_key=False)
    validate(schema)
    content = schema["paths"]["/cut"]["post"]["requestBody"]["content"]
    form = content["multipart/form-data"]["schema"]["properties"]
    assert form["corner"] == {"$ref": "#/components/schemas/Corner-Input"}
    named = {
        f"#/components/{kind}/{name}"
        for kind, several in schema["components"].items()
        for name in several
    }
    assert references(schema) <= named


class Signed(BaseModel):
    """Its own configuration says how its bytes come as JSON, and the schema does not."""

    model_config = ConfigDict(val_json_bytes="base64")
    key: bytes
    more: list["Signed"] = []


class Sealed(BaseModel):
    model_config = ConfigDict(val_json_bytes="hex")
    file: File
    seals: Annotated[list[bytes], AfterValidator(lambda seals: [*seals, b"last"])]
    signed: Signed | None = None


class Told(BaseModel):
    """Its bytes are the text's own, as pydantic has it by default."""

    text: bytes


class Options(BaseModel):
    """A field may be called as JSON schemas call what they say of a type."""

    format: str = "png"
    data: bytes = b""


class Marked(typing_extensions.TypedDict):
    """Its validators would make something else of what they made."""

    raw: bytes
    when: Annotated[int, AfterValidator(lambda when: when * 1000)]
    words: Annotated[list[str], BeforeValidator(lambda text: text.split(","))]


class Bytes:
    """Routes with bytes inside of JSON."""

    @endpoint("/parts")
    async def parts(
        self,
        file: File | None = None,
        *,
        alone: bytes = b"",
        several: list[bytes] = [],  # noqa: B006 - nothing changes it
        unlike: set[bytes] = set(),  # noqa: B006 - as above
        named: dict[str, bytes | int] | None = None,
        signed: Signed | None = None,
        told: Told | None = None,
        files: list[File] = [],  # noqa: B006 - as above
        either: int | list[Signed] = 0,
        options: Options | None = None,
        marked: Marked | None = None,
    ) -> None: ...

    @endpoint("/sealed")
    async def sealed(self, body: Sealed) -> None: ...


BYTES = {name: value for name, value in vars(Bytes).items() if isinstance(value, Route)}
_FF = base64.b64encode(b"\xff\x00").decode()


@pytest.mark.parametrize(
    ("field", "value", "made"),
    [
        ("several", [_FF, ""], [b"\xff\x00", b""]),
        ("unlike", [_FF], {b"\xff\x00"}),
        ("named", {"a": _FF, "b": 3}, {"a": b"\xff\x00", "b": 3}),
        (
            "signed",
            {"key": _FF, "more": [{"key": ""}]},
            Signed(key=b"\xff\x00", more=[Signed(key=b"")]),
        ),
        ("told", {"text": "AAAA"}, Told(text=b"AAAA")),
        ("files", [{"data": _FF, "name": "a"}], [File(b"\xff\x00", "a")]),
        ("either", [{"key": _FF}], [Signed(key=b"\xff\x00")]),
        ("options", {"format": "jpeg", "data": "AAAA"}, Options(format="jpeg", data=b"AAAA")),
        (
            "marked",
            {"raw": _FF, "when": 2, "words": "a,b"},
            {"raw": b"\xff\x00", "when": 2000, "words": ["a", "b"]},
        ),
    ],
)
def test_bytes_inside_a_part_are_what_they_are_in_a_body(field, value, made):
    """JSON with bytes in it means the same in a form, beside a file or not, and as the whole body."""
    bodies = Bodies(typed_route("parts", BYTES["parts"]))
    assert bodies.arguments(json.dumps({field: value}).encode())[1][field] == made
    for files in ([], [("file", ("a.bin", b"a"))]):
        _, keywords = sent("parts", {field: [json.dumps(value)]}, files, of=BYTES)
        assert keywords[field] == made


def test_a_text_for_bytes_is_its_own_bytes():
    """What is no JSON is nobody's base64: a form's text comes as it is, alone or one of several."""
    _, keywords = sent("parts", {"alone": ["AAAA"], "several": ["AAAA", "b"]}, of=BYTES)
    assert (keywords["alone"], keywords["several"]) == (b"AAAA", [b"AAAA", b"b"])


def test_several_parts_with_bytes_inside_are_read_one_by_one():
    """Each part of one name is an element of the list, whatever else the field may be."""
    parts = [json.dumps({"key": _FF}), json.dumps({"key": ""})]
    _, keywords = sent("parts", {"either": parts}, of=BYTES)
    assert keywords["either"] == [Signed(key=b"\xff\x00"), Signed(key=b"")]


def test_a_body_with_fields_has_its_own_word_on_bytes():
    """The configuration of the model that is the body holds for its fields; validators run once."""
    parts = {"seals": ['["ff00"]'], "signed": [json.dumps({"key": _FF})]}
    ((body,), _) = sent("sealed", parts, [("file", ("a.bin", b"a"))], of=BYTES)
    assert body.seals == [b"\xff\x00", b"last"]
    assert body.signed == Signed(key=b"\xff\x00")


def test_what_is_no_base64_is_the_senders_mistake():
    """The problem names the place inside the part, and tells nothing of what came."""
    with pytest.raises(UnfitError) as caught:
        sent("parts", {"named": ['{"a": "AAAA", "b": "secret!"}']}, of=BYTES)
    first = caught.value.problems[0]
    assert first["loc"][:2] == ["named", "b"]
    assert "base64" in first["msg"]
    assert "secret" not in str(caught.value)
