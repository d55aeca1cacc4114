"""What each request of a batch gets: its answer, or an error of its own.

A method says which of its requests failed by an exception in the place of an answer, or by a
`BatchError` with ``failed``. Any other error is looked for by halves: the batch runs again without
the half that fails, until what fails is one request.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from ...errors import BatchError

__all__ = ["outcomes", "own_error"]

_HOPELESS = 8  # failures before the first success
Attempt = Callable[[list[Any]], Awaitable[list[Any]]]


async def outcomes(
    name: str, attempt: Attempt, requests: list[Any], on_error: Literal["isolate", "fail"]
) -> list[Any]:
    """Run a batch; an answer or an exception for each request, in their order.

    Args:
        name: The method's name, for messages.
        attempt: Calls the method with some of the requests.
        requests: The batch.
        on_error: Whether an error of the whole batch is looked for in halves. Where none of the
            first parts can be answered, it is not one request's fault, and all of them have failed.
    """
    found: list[Any] = [None] * len(requests)
    parts = deque([list(range(len(requests)))])
    failures_left: float = _HOPELESS if on_error == "isolate" else 1
    while parts:
        part = parts.popleft()
        try:
            answers = await attempt([requests[place] for place in part])
            _check_length(name, len(part), answers)
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, whatever it is
            failures_left -= 1
            smaller = _parts_after(error, part, found)
            if failures_left > 0:
                parts.extend(smaller)
            else:
                _fail(found, [place for one in (*smaller, *parts) for place in one], error)
                parts.clear()
        else:
            failures_left = math.inf  # some can be answered: the rest are looked at one by one
            for place, answer in zip(part, answers, strict=True):
                found[place] = answer
    return found


def _parts_after(error: Exception, part: list[int], found: list[Any]) -> list[list[int]]:
    """Give those that certainly failed their error; return what may yet be answered."""
    if isinstance(error, BatchError) and error.failed:
        named = {part[at]: one for at, one in error.failed.items() if 0 <= at < len(part)}
        if named:
            for place, one in named.items():
                found[place] = own_error(one)
            rest = [place for place in part if place not in named]
            return [rest] if rest else []
    if len(part) == 1 or (isinstance(error, BatchError) and not error.failed):
        _fail(found, part, error)
        return []
    middle = len(part) // 2
    return [part[:middle], part[middle:]]


def _fail(found: list[Any], places: list[int], error: Exception) -> None:
    for place in places:
        found[place] = own_error(error)


def own_error(error: Exception) -> Exception:
    """A caller's own copy: each one that raises an error adds its frames to the traceback."""
    try:
        mine = copy.copy(error)
        is_like_it = type(mine) is type(error) and str(mine) == str(error)
    except Exception:  # noqa: BLE001 - errors whose __init__ does not take what it passed on
        return error
    if not is_like_it:
        return error
    mine.__cause__, mine.__context__ = error.__cause__, error.__context__
    mine.__suppress_context__ = error.__suppress_context__
    return mine.with_traceback(error.__traceback__)


def _check_length(name: str, expected: int, answers: object) -> None:
    if isinstance(answers, (list, tuple)) and len(answers) == expected:
        return
    got = f"{len(answers)}" if isinstance(answers, (list, tuple)) else f"a {type(answers).__name__}"
    msg = f"{name} got {expected} requests and returned {got}. Return a list with one answer each."
    raise BatchError(msg)
