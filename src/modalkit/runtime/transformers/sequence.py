"""One answer being generated, as the decode thread sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..openai import ApiError, FinishReason
from .draws import Draws

__all__ = ["Sequence", "TokenChances", "TokenEvent"]


class TokenChances(NamedTuple):
    """Log probabilities at one place: the chosen token's, and the best (token, logprob)."""

    chosen: float
    top: list[tuple[int, float]]


class TokenEvent(NamedTuple):
    """One generated token, or the reason why no more will come."""

    sequence: Sequence
    token: int
    chances: TokenChances | None
    finish: FinishReason | None


def _unheard(_: object) -> None:
    """Nobody listens yet."""


@dataclass(eq=False, slots=True)
class Sequence:
    """A prompt and what has been generated after it.

    Attributes:
        max_tokens: The most tokens to generate.
        ends: Token ids that end the answer.
        top_logprobs: How many alternatives to report; None reports no log probabilities.
        on_token: Called on the event loop with each of its events.
        on_failure: Called on the event loop when the model failed.
        cancelled: Set by any thread; the decode thread drops the sequence at its next step.
    """

    prompt: list[int]
    max_tokens: int
    ends: frozenset[int]
    draws: Draws
    top_logprobs: int | None
    on_token: Callable[[TokenEvent], None] = field(default=_unheard)
    on_failure: Callable[[ApiError], None] = field(default=_unheard)
    tokens: list[int] = field(default_factory=list)
    cancelled: bool = False

    @property
    def known(self) -> list[int]:
        """Everything the model must have read before it can go on."""
        return self.prompt + self.tokens

    @property
    def length(self) -> int:
        """How many tokens that is."""
        return len(self.prompt) + len(self.tokens)

    def accept(self, token: int, chances: TokenChances | None) -> TokenEvent:
        """Take the next token; the event says whether it was the last."""
        self.tokens.append(token)
        finish: FinishReason | None = None
        if token in self.ends:
            finish = "stop"
        elif len(self.tokens) >= self.max_tokens:
            finish = "length"
        return TokenEvent(self, token, chances, finish)
