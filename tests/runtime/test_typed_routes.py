"""What a route's annotations make of it, and every mistake they can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, TypedDict

import pytest
import typing_extensions
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile

from modalkit.declare.batches import Batch
from modalkit.declare.routes import Route
from modalkit.errors import DeclarationError
from modalkit.runtime.typed_routes import typed_route


class Text(BaseModel):
    text: str


class Unknown:
    """A class that says nothing about JSON."""


class OldOptions(TypedDict):
    size: int


class NewOptions(typing_extensions.TypedDict):
    size: int


@dataclasses.dataclass
class Options:
    size: int = 3


class Service:
    """Methods as users write them, right and wrong."""

    def untyped(self, text): ...
    def half_typed(self, text: str): ...
    def unknown_name(self, text: Nope) -> int: ...  # noqa: F821
    def unknown_member(self, text: dataclasses.Nope) -> int: ...
    def not_an_expression(self, text: "a b") -> int: ...  # noqa: F722
    def unknown_type(self, thing: Unknown) -> int: ...
    def unknown_file(self, file: UploadFile) -> int: ...
    def unknown_answer(self, text: str) -> Unknown: ...
    def old_options(self, options: OldOptions) -> int: ...
    def call_back(self, then: Callable[[int], int]) -> int: ...
    def bad_pattern(self, text: Annotated[str, Field(pattern="(")]) -> int: ...
    def field_default(self, times: int = Field(3, ge=1)) -> int: ...
    def many(self, *texts: str) -> int: ...
    def named(self, **texts: str) -> int: ...
    def by_place(self, text: str, /) -> int: ...
    def no_self() -> int: ...
    def hidden_self(*everything: int) -> int: ...

    def right(
        self,
        json: int,
        _hidden: str = "x",
        model_config: float = 0.5,
        options: Options = Options(4),  # noqa: B008
        *,
        more: NewOptions | None = None,
    ) -> bytes: ...

    def model(self, request: Text) -> NewOptions: ...
    def optional_model(self, request: Text = Text(text="x")) -> None: ...  # noqa: B008
    def nothing(self) -> list[bytes]: ...

    def batched(self, texts: list[Text]) -> list[int]: ...
    def batched_nothing(self) -> list[int]: ...
    def batched_two(self, texts: list[Text], times: int) -> list[int]: ...
    def batched_one(self, text: Text) -> list[int]: ...
    def batched_bare(self, texts: list) -> list[int]: ...
    def batched_single_answer(self, texts: list[Text]) -> int: ...
    def batched_unknown(self, things: list[Unknown]) -> list[int]: ...


def typed(name, batch=None):
    return typed_route(name, Route(vars(Service)[name], f"/{name}", batch))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("untyped", ["no annotation for text, return", "def untyped(self, text: ...) -> ..."]),
        ("half_typed", ["no annotation for return"]),
        ("unknown_name", ["name 'Nope' is not defined", "at module level"]),
        ("unknown_member", ["no attribute 'Nope'"]),
        ("not_an_expression", ["cannot be read"]),
        ("unknown_type", ["parameter 'thing'", "Unknown", "Write a pydantic model"]),
        ("unknown_file", ["parameter 'file'", "Write modalkit.File"]),
        ("unknown_answer", ["its answer", "Unknown", "Write a pydantic model"]),
        ("old_options", ["parameter 'options'", "typing_extensions.TypedDict"]),
        ("call_back", ["parameter 'then'", "Callable"]),
        ("bad_pattern", ["parameter 'text'", "pattern"]),
        ("field_default", ["times: Annotated[..., Field(...)]"]),
        ("many", ["'*texts'", "Write each parameter out"]),
        ("named", ["'**texts'", "Write each parameter out"]),
        ("by_place", ["'text'", "without '/'"]),
        ("no_self", ["def no_self(self, ...)"]),
        ("hidden_self", ["def hidden_self(self, ...)"]),
    ],
)
def test_a_route_that_cannot_be_typed_says_where_and_what_to_write(name, says):
    """Every mistake is a DeclarationError with Class.method, the parameter and the remedy."""
    with pytest.raises(DeclarationError) as caught:
        typed(name)
    for words in (f"Service.{name} (endpoint '/{name}')", *says):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "batched_nothing",
        "batched_two",
        "batched_one",
        "batched_bare",
        "batched_single_answer",
        "model",
    ],
)
def test_a_batched_method_takes_one_list_and_returns_one(name):
    """Any other signature is refused with the one to write."""
    with pytest.raises(DeclarationError) as caught:
        typed(name, Batch(4))
    assert f"Service.{name} " in str(caught.value)
    assert f"def {name}(self, requests: list[Request]) -> list[Answer]" in str(caught.value)


def test_the_elements_of_a_batch_are_checked_too():
    """A list of something that is no JSON is refused like the thing itself."""
    with pytest.raises(DeclarationError, match=r"its request.*Unknown"):
        typed("batched_unknown", Batch(4))


@pytest.mark.filterwarnings("error")
def test_parameters_may_have_any_name():
    """A parameter called json or _hidden is a field of that name, without a warning."""
    route = typed("right")
    body = route.request.validate_json(b'{"json": 1, "_hidden": "y", "options": {"size": 5}}')
    assert route.arguments(body) == (
        (),
        {
            "json": 1,
            "_hidden": "y",
            "model_config": 0.5,
            "options": Options(5),
            "more": None,
        },
    )
    schema = route.request.json_schema()
    assert schema["title"] == "RightRequest"
    assert set(schema["properties"]) == {"json", "_hidden", "model_config", "options", "more"}
    assert schema["required"] == ["json"]


def test_any_bytes_travel_as_base64():
    """Bytes that are no text come and go as base64, and the schema says so."""
    route = typed("nothing")
    assert route.answer.dump_json([b"\xff\x00\xfe"]) == b'["_wD-"]'
    assert typed("right").answer.json_schema()["format"] == "base64url"


@pytest.mark.parametrize(
    ("name", "batch", "needs_body"),
    [
        ("right", None, True),
        ("model", None, True),
        ("optional_model", None, False),
        ("nothing", None, False),
        ("batched", Batch(4), True),
    ],
)
def test_a_body_is_needed_where_a_parameter_has_no_default(name, batch, needs_body):
    """needs_body is false where the method could be called with nothing."""
    assert typed(name, batch).needs_body is needs_body
