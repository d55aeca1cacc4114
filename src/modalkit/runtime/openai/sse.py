"""Streamed answers: chunks assembled by hand, because one is written for every token.

A chunk differs from the one before only in its text. The fixed parts are encoded once per
stream, and text goes through the C encoder of `json`; this is several times cheaper than
encoding a nested object per token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Protocol

from pydantic import JsonValue

from .backend import Delta, TokenLogprob
from .replies import chat_logprobs, completion_logprobs, tool_call_fields, usage

__all__ = ["DONE", "ChatChunks", "Chunks", "CompletionChunks", "error_chunk"]

DONE = b"data: [DONE]\n\n"


class Chunks(Protocol):
    """How one kind of answer is cut into server-sent events."""

    def encode(self, deltas: Sequence[Delta]) -> bytes:
        """The events for these deltas."""
        ...

    def end(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        """The last events."""
        ...


class _Envelope:
    """The parts that every chunk of one stream shares."""

    def __init__(
        self, kind: str, answer_id: str, created: int, model: str, *, with_usage: bool
    ) -> None:
        fixed = {"id": answer_id, "object": kind, "created": created, "model": model}
        self._open = "data: " + json.dumps(fixed)[:-1] + ', "choices": ['
        # Every chunk but the last says null once usage was asked for.
        self._close = '], "usage": null}\n\n' if with_usage else "]}\n\n"
        self._with_usage = with_usage

    def wrap(self, choice: str) -> str:
        return self._open + choice + self._close

    def end(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        """The usage chunk, if asked for, and the end mark."""
        if not self._with_usage:
            return DONE
        counts = json.dumps(usage(prompt_tokens, completion_tokens))
        return f'{self._open}], "usage": {counts}}}\n\n'.encode() + DONE


class ChatChunks(_Envelope):
    """`chat.completion.chunk` events."""

    def __init__(
        self, answer_id: str, created: int, model: str, *, with_usage: bool, with_logprobs: bool
    ) -> None:
        kind = "chat.completion.chunk"
        super().__init__(kind, answer_id, created, model, with_usage=with_usage)
        self._with_logprobs = with_logprobs
        self._begun: set[int] = set()

    def encode(self, deltas: Sequence[Delta]) -> bytes:
        """The events for these deltas; the first of each choice also names the role."""
        return "".join([self._chunk(delta) for delta in deltas]).encode()

    def _chunk(self, delta: Delta) -> str:
        parts = ""
        if delta.choice not in self._begun:
            self._begun.add(delta.choice)
            parts = self._event(delta.choice, '{"role": "assistant", "content": ""}')
        if delta.text or delta.logprobs:
            content = f'{{"content": {encode_basestring(delta.text)}}}'
            parts += self._event(delta.choice, content, self._logprobs(delta.logprobs))
        if delta.tool_calls:
            calls: list[JsonValue] = [
                {"index": place, **tool_call_fields(call)}
                for place, call in enumerate(delta.tool_calls)
            ]
            parts += self._event(delta.choice, json.dumps({"tool_calls": calls}))
        if delta.finish_reason is not None:
            parts += self._event(delta.choice, "{}", finish=f'"{delta.finish_reason}"')
        return parts

    def _logprobs(self, entries: Sequence[TokenLogprob]) -> str:
        return json.dumps(chat_logprobs(entries)) if self._with_logprobs else "null"

    def _event(self, index: int, delta: str, logprobs: str = "null", finish: str = "null") -> str:
        return self.wrap(
            f'{{"index": {index}, "delta": {delta}, "logprobs": {logprobs}, '
            f'"finish_reason": {finish}}}'
        )


class CompletionChunks(_Envelope):
    """`text_completion` events."""

    def __init__(
        self, answer_id: str, created: int, model: str, *, with_usage: bool, with_logprobs: bool
    ) -> None:
        super().__init__("text_completion", answer_id, created, model, with_usage=with_usage)
        self._with_logprobs = with_logprobs
        self._offsets: dict[int, int] = {}

    def encode(self, deltas: Sequence[Delta]) -> bytes:
        """The events for these deltas."""
        said = [d for d in deltas if d.text or d.logprobs or d.finish_reason is not None]
        return "".join([self._chunk(delta) for delta in said]).encode()

    def _chunk(self, delta: Delta) -> str:
        finish = "null" if delta.finish_reason is None else f'"{delta.finish_reason}"'
        return self.wrap(
            f'{{"index": {delta.choice}, "text": {encode_basestring(delta.text)}, '
            f'"logprobs": {self._logprobs(delta)}, "finish_reason": {finish}}}'
        )

    def _logprobs(self, delta: Delta) -> str:
        if not self._with_logprobs:
            return "null"
        offset = self._offsets.get(delta.choice, 0)
        width = sum(len(entry.chosen.text) for entry in delta.logprobs)
        self._offsets[delta.choice] = offset + width
        return json.dumps(completion_logprobs(delta.logprobs, offset))


def error_chunk(body: dict[str, dict[str, str | None]]) -> bytes:
    """An error after the stream has begun, in the form OpenAI clients raise."""
    return f"data: {json.dumps(body)}\n\n".encode()
