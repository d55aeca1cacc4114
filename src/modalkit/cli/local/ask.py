"""Asking a plane that runs in another process, over its page's routes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path

import click

from ...errors import LocalModalError
from ...local.presence import Running, running

__all__ = ["answer_of", "plane_of", "reading"]

_ANSWER_WITHIN_S = 30.0


def plane_of(state: Path) -> Running:
    """Return the plane that is up for a state folder, or end the command with what to do."""
    found = running(state)
    if found is None:
        msg = f"No local Modal is up for {str(state)!r}. Start one: modalkit local up --detach"
        raise click.ClickException(msg)
    return found


def answer_of(
    plane: Running, path: str, body: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Ask a plane for JSON; with a body, ask it to do something.

    Raises:
        LocalModalError: It refused; the message is its own.
    """
    with reading(plane, path, body) as response:
        answer: dict[str, object] = json.load(response)
    return answer


@contextmanager
def reading(
    plane: Running, path: str, body: Mapping[str, str] | None = None
) -> Iterator[HTTPResponse]:
    """Open a route of a plane for reading as it comes."""
    request = urllib.request.Request(  # noqa: S310 - a loopback address from the state folder
        f"{plane.page}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {plane.page_token}"},
    )
    # Without a handler of its own it would ask the proxy that the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_ANSWER_WITHIN_S) as response:
            yield response
    except urllib.error.HTTPError as error:
        raise LocalModalError(_reason(error)) from error
    except urllib.error.URLError as error:
        msg = f"The local Modal at {plane.page} does not answer ({error.reason})."
        raise LocalModalError(msg) from error


def _reason(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"The local Modal answered {error.code}: {text}"
