"""Forms: what each part is made into, and how the schema tells a form's fields."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
import typing_extensions
from openapi_spec_validator import validate
from pydantic import BaseModel, ConfigDict
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


def sent(name: str, data: Any = None, files: Any = ()) -> Any:
    """The arguments that the route makes of a form, as httpx writes it."""
    parts = [(key, (None, text)) for key, several in (data or {}).items() for text in several]
    request = httpx.Request("POST", "http://here", files=[*parts, *files])
    body = Bodies(typed_route(name, ROUTES[name]))
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
