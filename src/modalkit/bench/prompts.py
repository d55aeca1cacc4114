"""Texts of so many tokens, without a tokenizer: the server says how many a word has.

Each begins with words of its own, so that no prefix cache answers for it.
"""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["Ruler", "text_of"]

# Short common words: most tokenizers have one token for each, with the space before it.
_WORDS = tuple(
    "the of and to in is that for it was on are as with his they at be this from have or by one had "  # noqa: SIM905 - a list of one hundred strings is no easier to read
    "not but what all were when we there can an your which their said if do will each about how up "
    "out them then she many some so these would other into has more her two like him see time could "
    "no make than first been its who now people my made over did down only way find use may water "
    "long little very after words called just where most know get through back much before".split()
)


class Ruler(NamedTuple):
    """How many tokens words come to on one server.

    Attributes:
        per_word: Tokens of a word.
        around: Tokens that every prompt has besides: a chat template's.
    """

    per_word: float = 1.0
    around: float = 0.0

    @classmethod
    def of(cls, short: tuple[int, int], long: tuple[int, int]) -> Ruler:
        """Work it out from two prompts, each with its words and the tokens the server counted.

        Examples:
            >>> Ruler.of((10, 25), (110, 175))
            Ruler(per_word=1.5, around=10.0)
        """
        words = long[0] - short[0]
        per_word = (long[1] - short[1]) / words if words else 0.0
        if per_word <= 0:
            return cls()
        return cls(per_word, max(0.0, short[1] - per_word * short[0]))

    def words(self, tokens: int) -> int:
        """Return how many words have so many tokens; at least one."""
        return max(1, round((tokens - self.around) / self.per_word))


def text_of(words: int, chance: random.Random) -> str:
    """Return a text of so many words, drawn anew each time."""
    return " ".join(chance.choices(_WORDS, k=words))
