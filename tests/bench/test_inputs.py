"""Inputs made from JSON schemas: whatever is made, the type it was made for takes."""

from __future__ import annotations

import enum
import random
from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field, TypeAdapter

from modalkit import Array, File
from modalkit.bench.inputs import Maker
from modalkit.bench.lengths import Lengths, Size
from modalkit.bench.prompts import Ruler, text_of
from modalkit.errors import BenchError, DeclarationError
from modalkit.runtime.wire_types import foreign


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Box(BaseModel):
    left: Annotated[int, Field(ge=-5, le=5)]
    wide: Annotated[float, Field(gt=0, lt=1)]


class Scan(BaseModel):
    """Everything a request of a custom model usually has."""

    text: str
    short: Annotated[str, Field(min_length=3, max_length=5)]
    colour: Colour
    task: Literal["find", "count"]
    boxes: Annotated[list[Box], Field(min_length=1, max_length=2)]
    pair: tuple[int, str]
    scores: dict[str, float]
    maybe: str | None
    either: int | Box
    when: datetime
    day: date
    key: UUID
    even: Annotated[int, Field(multiple_of=2, ge=0, le=100)]
    flag: bool
    named: Annotated[str, Field(pattern="^a+$", examples=["aaa"])]
    size: int = 7


class Recording(BaseModel):
    """What is no text in JSON."""

    file: File
    picture: Annotated[Image.Image, foreign(Image.Image)]
    rows: Annotated[NDArray[np.float32], Array()]
    points: Annotated[NDArray[np.uint8], Array(shape=(2, 3))]
    depth: Annotated[NDArray[np.uint16], Array(shape=(None, 2), encoding="base64")]


@given(st.integers(0, 1_000))
def test_files_images_and_arrays_are_made_too(seed):
    """What a typed route takes as base64 or nested lists is made as such."""
    schema = TypeAdapter(Recording).json_schema()
    found = TypeAdapter(Recording).validate_python(
        Maker(schema, schema, random.Random(seed)).make(), strict=False
    )
    assert found.file.data
    assert found.picture.size == (1, 1)
    assert found.rows.dtype == np.float32
    assert found.points.shape == (2, 3)
    assert found.depth.shape == (1, 2)


@given(st.integers(0, 10_000))
def test_what_is_made_fits_the_type_it_was_made_for(seed):
    """A body made from a type's schema is one that the type takes, for any seed."""
    schema = TypeAdapter(Scan).json_schema()
    made = Maker(schema, schema, random.Random(seed)).make()
    found = TypeAdapter(Scan).validate_python(made, strict=False)
    assert found.size == 7
    assert "size" not in made


@pytest.mark.parametrize(
    "kind", [int, float, str, bool, list[float], list[list[int]], dict[str, int], str | None]
)
def test_plain_types_are_made(kind):
    """Bodies that are no objects are made as well."""
    schema = TypeAdapter(kind).json_schema()
    TypeAdapter(kind).validate_python(Maker(schema, schema, random.Random(1)).make())


class Tree(BaseModel):
    below: Tree


class Coded(BaseModel):
    code: Annotated[str, Field(pattern="^[A-Z]{3}$")]


@pytest.mark.parametrize(("kind", "said"), [(Tree, "never ends"), (Coded, "body.code must match")])
def test_what_cannot_be_made_says_so(kind, said):
    """A schema without an end and a pattern without an example name --input."""
    schema = TypeAdapter(kind).json_schema()
    with pytest.raises(BenchError, match=said) as raised:
        Maker(schema, schema, random.Random(1)).make()
    assert "--input FILE" in str(raised.value)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 2**31))
def test_lengths_stay_in_their_range(first, second, seed):
    """Sizes are drawn from the range that was written, both ends included."""
    low, high = sorted((first, second))
    drawn = Lengths.parse(f"{low}-{high}:{low}").draw(random.Random(seed))
    assert low <= drawn.tokens_in <= high
    assert drawn.tokens_out == low


def test_published_lengths_have_the_published_means():
    """Many prompts of a published distribution have about its mean, cut at its ends."""
    chance = random.Random(3)
    drawn = [Lengths.parse("sharegpt").draw(chance) for _ in range(20_000)]
    assert sum(one.tokens_in for one in drawn) / 20_000 == pytest.approx(161, rel=0.06)
    # Answers are cut at 1024 tokens, which takes some of the mean.
    assert sum(one.tokens_out for one in drawn) / 20_000 == pytest.approx(320, rel=0.08)


@pytest.mark.parametrize("text", ["", "512", "512:", "9-3:1", "0:1", "a:b", "1:2:3"])
def test_lengths_that_are_none_are_refused(text):
    """What is no length is refused with one that is."""
    with pytest.raises(DeclarationError, match="512:128"):
        Lengths.parse(text)


@given(st.floats(0.5, 4), st.integers(0, 50), st.integers(60, 4000))
def test_a_ruler_finds_the_words_of_so_many_tokens(per_word, around, tokens):
    """Two prompts are enough to know how many words have so many tokens."""
    counted = [(words, round(per_word * words) + around) for words in (8, 136)]
    words = Ruler.of(*counted).words(tokens)
    assert abs(per_word * words + around - tokens) <= 0.02 * tokens + per_word + 1


def test_every_text_is_another():
    """Prompts differ from the first words on, so that no prefix cache answers."""
    chance = random.Random(1)
    firsts = {" ".join(text_of(40, chance).split()[:4]) for _ in range(200)}
    assert len(firsts) > 195


def test_a_size_is_a_pair():
    """Fixed lengths are always the same."""
    assert Lengths.parse("64:8").draw(random.Random(9)) == Size(64, 8)
