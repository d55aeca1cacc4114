"""How messages name what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "one_of"]

_LOOK_ALIKES = str.maketrans("oil", "011")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'X'?`` for the nearest known word, or an empty string.

    Case and look-alikes do not count: ``H1OO`` is near ``H100``.
    """
    by_shape = {name.lower().translate(_LOOK_ALIKES): name for name in known}
    shape = word.lower().translate(_LOOK_ALIKES)
    near = difflib.get_close_matches(shape, by_shape, n=1, cutoff=0.6)
    return f" Did you mean {by_shape[near[0]]!r}?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """Join words for a message: ``A, B or C``."""
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last
