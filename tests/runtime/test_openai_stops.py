from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.runtime.openai import StopStrings

ALPHABET = st.text(alphabet="ab", max_size=20)


def stream(pieces: list[str], stops: tuple[str, ...]) -> tuple[str, bool]:
    watched = StopStrings(stops)
    text = "".join(watched.feed(piece) for piece in pieces)
    return text + watched.flush(), watched.found


def expected(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """The definition: text up to where the first completed stop string begins."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(st.lists(ALPHABET), st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3))
def test_cutting_a_text_into_pieces_does_not_change_where_it_stops(pieces, stops):
    """One character at a time, the text up to the first stop string leaves and nothing after."""
    letters = list("".join(pieces))
    assert stream(letters, tuple(stops)) == expected("".join(pieces), tuple(stops))


@given(st.lists(ALPHABET), st.text(alphabet="ab", min_size=1, max_size=4))
def test_one_stop_string_is_found_in_any_pieces(pieces, stop):
    """Pieces of any size give what the whole text gives."""
    assert stream(pieces, (stop,)) == expected("".join(pieces), (stop,))


@given(st.lists(ALPHABET), st.text(alphabet="ab", min_size=1, max_size=4))
def test_no_part_of_a_stop_string_leaves(pieces, stop):
    """What has left is at every moment a beginning of the final answer."""
    watched = StopStrings((stop,))
    final, _ = expected("".join(pieces), (stop,))
    left = ""
    for piece in pieces:
        left += watched.feed(piece)
        assert final.startswith(left)


def test_text_passes_at_once_when_it_cannot_begin_a_stop_string():
    """Nothing is held back without need."""
    assert StopStrings(("END",)).feed("hello") == "hello"


@pytest.mark.parametrize(("text", "left"), [("xEN", "x"), ("xE", "x"), ("xEND", "x")])
def test_a_possible_beginning_is_held_back(text: str, left: str):
    """The undecided end of the text waits."""
    assert StopStrings(("END",)).feed(text) == left
