"""How long prompts and answers are: fixed, in a range, or spread as people's are."""

from __future__ import annotations

import json
import math
import random
import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, Self

from .._values import did_you_mean, one_of
from ..errors import DeclarationError

__all__ = ["Lengths", "Size"]

_SPAN = re.compile(r"(\d+)(?:-(\d+))?")
_MOST = 10_000_000


class Size(NamedTuple):
    """The tokens of one request: of its prompt, and of its answer at most."""

    tokens_in: int
    tokens_out: int


@cache
def _published() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (files("modalkit") / "data" / "bench_lengths.json").read_text("utf-8")
    )
    return loaded


class Lengths(NamedTuple):
    """Where sizes are drawn from.

    Attributes:
        title: As it was written.
        tokens_in: The least and most tokens of a prompt.
        tokens_out: The least and most tokens of an answer.
        means: Means of prompt and answer where they are spread log-normally between those.

    Examples:
        >>> Lengths.parse("512:128").draw(random.Random(1))
        Size(tokens_in=512, tokens_out=128)
        >>> Lengths.parse("sharegpt").means
        (161.31, 337.99)
    """

    title: str
    tokens_in: tuple[int, int]
    tokens_out: tuple[int, int]
    means: tuple[float, float] | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"512:128"``, ``"100-900:50-300"`` or a published distribution's name.

        Raises:
            DeclarationError: It is none of these.
        """
        known = _published()["lengths"]
        if text in known:
            return cls._named(text)
        parts = text.split(":")
        spans = [_span(part) for part in parts]
        if len(spans) != 2 or None in spans:  # noqa: PLR2004 - in and out
            hint = did_you_mean(text, known) if ":" not in text else ""
            msg = f"The lengths {text!r} are not understood.{hint} Write IN:OUT in tokens (512:128, 100-900:50-300), or {one_of(known)}."
            raise DeclarationError(msg)
        first, second = spans
        assert first is not None  # noqa: S101 - looked at above
        assert second is not None  # noqa: S101
        return cls(text, first, second)

    @classmethod
    def _named(cls, name: str) -> Self:
        told = _published()
        one, least = told["lengths"][name], told["least"]
        return cls(
            name,
            (least, told["most_in"]),
            (least, told["most_out"]),
            (one["tokens_in"], one["tokens_out"]),
        )

    def draw(self, chance: random.Random) -> Size:
        """Return the size of one request."""
        if self.means is None:
            return Size(chance.randint(*self.tokens_in), chance.randint(*self.tokens_out))
        spread = _published()["spread"]
        drawn = [
            round(chance.lognormvariate(math.log(mean) - spread**2 / 2, spread))
            for mean in self.means
        ]
        (least_in, most_in), (least_out, most_out) = self.tokens_in, self.tokens_out
        return Size(min(max(drawn[0], least_in), most_in), min(max(drawn[1], least_out), most_out))


def _span(text: str) -> tuple[int, int] | None:
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        return None
    least = int(found[1])
    most = int(found[2] or found[1])
    return (least, most) if 1 <= least <= most <= _MOST else None
