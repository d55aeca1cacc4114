"""The first answers of an endpoint, before it is loaded: how cold it was, what it accepts, what a word is."""

from __future__ import annotations

import asyncio
import random
import time
from http import HTTPStatus
from urllib.parse import urlsplit

from .._values import Value
from ..errors import BenchError
from .answers import Answer
from .prompts import Ruler, text_of
from .target import Target
from .wire import Client
from .workload import Extras, OpenAIWorkload, Workload

__all__ = ["ColdReport", "Prober", "first_answer", "fitted"]

_PAUSE_S = 0.25
_NOT_UNDERSTOOD = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
_STARTING = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY}
_SHORT, _LONG = 8, 136  # words
_COLD_S = 1.0  # a start that took less was none


class ColdReport(Value):
    """The first answer of an endpoint against one when it was warm, in seconds.

    Attributes:
        first_answer_s: From the first byte sent to it to the end of its first good answer.
        warm_answer_s: The same request again.
        start_s: The difference.
        was_cold: Whether that was long enough to have been a start.
    """

    first_answer_s: float
    warm_answer_s: float
    start_s: float
    was_cold: bool


class Prober:
    """Asks one request after the other, and waits while the endpoint still starts.

    Args:
        target: The endpoint.
        within_s: Seconds until it must have answered.
    """

    def __init__(self, target: Target, within_s: float) -> None:
        self.target = target
        self.began = time.perf_counter()
        self._within_s = within_s
        self._client = Client(target, within_s)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    async def get(self, path: str) -> Answer:
        """Ask for a document; whatever comes is returned.

        Raises:
            BenchError: Nothing answers there.
        """
        return await self.ask(self.target.request("GET", path))

    async def ask(self, request: bytes) -> Answer:
        """Send a request until it is answered by more than that the endpoint starts.

        Modal sends a redirect where an answer takes longer than 150 s; it is followed.

        Raises:
            BenchError: Nothing answers, or not in time.
        """
        while True:
            answer = Answer(time.perf_counter())
            await self._client.ask(request, answer)
            if answer.failure in {"connect", "timeout"} or not answer.status:
                raise BenchError(_unanswered(self.target, answer))
            late = time.perf_counter() - self.began > self._within_s
            if answer.status == HTTPStatus.SEE_OTHER and "location" in answer.headers:
                parts = urlsplit(answer.headers["location"])
                request = self.target.request("GET", f"{parts.path}?{parts.query}".rstrip("?"))
            elif answer.status in _STARTING and not late:
                await asyncio.sleep(_PAUSE_S)
            else:
                return answer


def _unanswered(target: Target, answer: Answer) -> str:
    said = target.without_secrets(answer.message)
    return f"{target.url} does not answer ({answer.failure}: {said}). Is it running, and is the address right?"


async def first_answer(prober: Prober, workload: Workload) -> tuple[Workload, ColdReport]:
    """Get a good answer, find out what the server understands, and how long both took.

    Raises:
        BenchError: It answers no request of this kind; the message is what it said.
    """
    answer = await prober.ask(workload.next())
    if isinstance(workload, OpenAIWorkload):
        for extras in (Extras(ignore_eos=False), Extras(usage=False), Extras(False, False)):
            if answer.status not in _NOT_UNDERSTOOD:
                break
            tried = workload.but(extras=extras)
            answer = await prober.ask(tried.next())
            if not answer.failure:
                workload = tried
    if answer.failure:
        raise BenchError(_refused(prober.target, answer))
    first_s = answer.ended - prober.began
    warm = await prober.ask(workload.next())
    warm_s = warm.ended - warm.sent
    start_s = max(0.0, first_s - warm_s)
    return workload, ColdReport(
        first_answer_s=round(first_s, 3),
        warm_answer_s=round(warm_s, 3),
        start_s=round(start_s, 3),
        was_cold=start_s > max(_COLD_S, warm_s),
    )


def _refused(target: Target, answer: Answer) -> str:
    said = target.without_secrets(answer.message) or "nothing more"
    hint = ""
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        hint = " Export MODALKIT_API_KEY, or name the variable that holds the key: --key-env NAME."
    elif answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        hint = " Give a body that it takes: --input FILE."
    return f"{target.url} answers the first request with {answer.failure}: {said}.{hint}"


async def fitted(prober: Prober, workload: Workload) -> Workload:
    """Return a workload whose prompts have the tokens they should, where the server counts them."""
    if not isinstance(workload, OpenAIWorkload) or not workload.with_words:
        return workload
    chance = random.Random()  # noqa: S311 - words of a prompt
    counts = []
    for words in (_SHORT, _LONG):
        answer = await prober.ask(workload.of(text_of(words, chance), 1))
        if answer.failure and answer.failure != "no tokens":
            return workload
        counts.append((words, answer.tokens_in))
    return workload.but(ruler=Ruler.of(*counts))
