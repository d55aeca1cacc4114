"""What every framework's server takes and answers, and the requests that are sent."""

from __future__ import annotations

import random

from pydantic import BaseModel

FEATURES, CHUNKS = 64, 64
_SENTENCE = "the model reads a text and says what it is about in a few numbers of its own"


class Item(BaseModel):
    id: int
    name: str
    tags: list[str]
    scores: list[float]


class Row(BaseModel):
    features: list[float]


class Label(BaseModel):
    label: int


class Text(BaseModel):
    text: str


class Vector(BaseModel):
    vector: list[float]


class Token(BaseModel):
    token: str


def texts(count: int = 256) -> list[str]:
    """Texts of 4 to 120 words, most of them short, as questions and paragraphs are."""
    dice = random.Random(7)
    lengths = [min(120, max(4, int(dice.lognormvariate(3.0, 0.8)))) for _ in range(count)]
    return [" ".join(dice.choices(_SENTENCE.split(), k=length)) for length in lengths]


NOOP = {
    "id": 7,
    "name": "x" * 200,
    "tags": [f"tag-{number}" for number in range(20)],
    "scores": [0.5] * 100,
}
ROW = {"features": [round(0.01 * number, 2) for number in range(FEATURES)]}
