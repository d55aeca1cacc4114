"""The @endpoint decorator: what it takes, and what it says to what it does not."""

from __future__ import annotations

import modal
import pytest

from modalkit.declare.batches import Batch
from modalkit.declare.routes import Route, endpoint
from modalkit.errors import DeclarationError


@pytest.mark.parametrize("path", ["/", "/f", "/v1/embed", "/a-b_c.d~e", "/F/2"])
def test_plain_paths_are_taken(path):
    """A path that no URL would change is the route's path as written."""

    @endpoint(path)
    def f(self, text: str) -> str:
        return text

    assert isinstance(f, Route)
    assert f.path == path


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("f", "/f"),
        ("", "/predict"),
        ("/f?x=1", "/f"),
        ("/f#part", "/f"),
        ("/my path", "/my-path"),
        ("/f/", "/f"),
        ("//f", "/f"),
        ("/../f", "/f"),
        ("/users/{id}", "/users/id"),
        ("/f\n", "/f"),
        ("/é", "/predict"),
        (5, "/predict"),
    ],
)
def test_a_path_that_a_url_would_change_is_refused_with_the_nearest(path, nearest):
    """Queries, blanks, braces and the like are no path, and the message says what to write."""
    with pytest.raises(DeclarationError, match="plain absolute path") as caught:
        endpoint(path)
    assert repr(path) in str(caught.value)
    assert f"Write @endpoint({nearest!r})." in str(caught.value)


def test_endpoint_without_a_path_says_what_to_write():
    """The bare decorator, with or without parentheses, asks for a path."""
    with pytest.raises(DeclarationError, match=r"Write @endpoint\('/guess'\)"):

        @endpoint
        def guess(self, text: str) -> str:
            return text

    with pytest.raises(DeclarationError, match=r"Write @endpoint\('/predict'\)"):
        endpoint()


@pytest.mark.parametrize("decorate", [modal.method(), modal.fastapi_endpoint()])
def test_an_endpoint_above_a_member_of_modals_is_refused(decorate):
    """@endpoint above @modal.method() says that the one is the other already."""

    def f(self) -> int:
        return 1

    with pytest.raises(DeclarationError, match=r"leave out @modal\.method\(\)"):
        endpoint("/f")(decorate(f))


@pytest.mark.parametrize("thing", [3, str, staticmethod(len), classmethod(len), None])
def test_only_methods_can_be_routes(thing):
    """What is not a method is refused by its type."""
    with pytest.raises(DeclarationError, match=rf"above a {type(thing).__name__}\."):
        endpoint("/f")(thing)


def test_a_generator_is_a_stream():
    """A method that yields, async or not, is a route that streams; the others are not."""

    def f(self):
        yield 1

    async def g(self):
        yield 1

    def h(self):
        return 1

    assert [endpoint("/f")(method).streams for method in (f, g, h)] == [True, True, False]
    with pytest.raises(DeclarationError, match="a generator, which runs by turns"):
        endpoint("/f", parallel=True)(f)


def test_prepare_belongs_to_batches_of_answers():
    """prepare= is a method, goes with batch=, and not with a generator."""

    def tokenize(self, requests):
        return requests

    def write(self, batch):
        yield

    with pytest.raises(DeclarationError, match=r"Write batch=Batch\(32\) too"):
        endpoint("/f", prepare=tokenize)
    with pytest.raises(DeclarationError, match="needs a method"):
        endpoint("/f", batch=Batch(4), prepare="tokenize")
    with pytest.raises(DeclarationError, match="write yields"):
        endpoint("/f", batch=Batch(4), prepare=tokenize)(write)


@pytest.mark.parametrize("media_type", ["wav", "", "audio/", 3])
def test_a_media_type_that_is_none_is_refused(media_type):
    """What is not of the form type/subtype is refused by name."""
    with pytest.raises(DeclarationError, match=r"needs one such as 'audio/wav'"):
        endpoint("/f", media_type=media_type)


def test_batch_is_a_batch():
    """A number where a Batch belongs is refused with the Batch to write."""
    with pytest.raises(DeclarationError, match=r"Write batch=Batch\(8\)"):
        endpoint("/f", batch=8)


def test_parallel_is_for_methods_that_are_not_async():
    """parallel=True is kept for a plain method and refused where it would change nothing."""

    def plain(self) -> int:
        return 1

    async def waits(self) -> int:
        return 1

    assert endpoint("/f", parallel=True)(plain).parallel
    assert not endpoint("/f")(plain).parallel
    with pytest.raises(DeclarationError, match=r"waits, .* Leave out parallel=True"):
        endpoint("/f", parallel=True)(waits)


def test_an_uncompiled_route_is_the_plain_method():
    """In a unit test a route is called like the method it decorates."""

    class Service:
        @endpoint("/f", batch=Batch(4))
        def f(self, numbers: list[int]) -> list[int]:
            """Echo numbers.

            At length.
            """
            return numbers

    assert Service().f([1, 2]) == [1, 2]
    assert Service.f.summary == "Echo numbers."
