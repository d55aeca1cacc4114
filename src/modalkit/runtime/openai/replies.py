"""The JSON bodies of complete answers."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from .backend import Delta, Embeddings, FinishReason, TokenChance, TokenLogprob, ToolCall

__all__ = [
    "Answer",
    "chat_choice",
    "chat_logprobs",
    "completion_choice",
    "completion_logprobs",
    "embeddings_body",
    "gather",
    "tool_call_fields",
    "usage",
]


@dataclass(slots=True)
class Answer:
    """One choice, complete."""

    text: str = ""
    tokens: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    finish_reason: FinishReason = "stop"


def gather(answers: Sequence[Answer], deltas: Iterable[Delta]) -> None:
    """Add deltas to the answers they belong to."""
    for delta in deltas:
        answer = answers[delta.choice]
        answer.text += delta.text
        answer.tokens += delta.tokens
        answer.logprobs += delta.logprobs
        answer.tool_calls += delta.tool_calls
        if delta.finish_reason is not None:
            answer.finish_reason = delta.finish_reason


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, JsonValue]:
    """The ``usage`` object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def chat_choice(index: int, answer: Answer, *, with_logprobs: bool) -> dict[str, JsonValue]:
    """One entry of a chat completion's ``choices``."""
    message: dict[str, JsonValue] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        message["content"] = answer.text or None
        message["tool_calls"] = [tool_call_fields(call) for call in answer.tool_calls]
    return {
        "index": index,
        "message": message,
        "logprobs": chat_logprobs(answer.logprobs) if with_logprobs else None,
        "finish_reason": answer.finish_reason,
    }


def completion_choice(index: int, answer: Answer, *, with_logprobs: bool) -> dict[str, JsonValue]:
    """One entry of a completion's ``choices``."""
    return {
        "index": index,
        "text": answer.text,
        "logprobs": completion_logprobs(answer.logprobs, 0) if with_logprobs else None,
        "finish_reason": answer.finish_reason,
    }


def tool_call_fields(call: ToolCall) -> dict[str, JsonValue]:
    """One entry of a message's ``tool_calls``."""
    function: dict[str, JsonValue] = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def chat_logprobs(entries: Iterable[TokenLogprob]) -> dict[str, JsonValue]:
    """The ``logprobs`` object of a chat choice or chunk."""
    content: list[JsonValue] = [
        {**_chance(entry.chosen), "top_logprobs": [_chance(chance) for chance in entry.top]}
        for entry in entries
    ]
    return {"content": content, "refusal": None}


def _chance(chance: TokenChance) -> dict[str, JsonValue]:
    return {"token": chance.text, "logprob": chance.logprob, "bytes": list(chance.utf8)}


def completion_logprobs(entries: Sequence[TokenLogprob], offset: int) -> dict[str, JsonValue]:
    """The ``logprobs`` object of a plain completion; ``offset`` counts characters before it."""
    offsets: list[JsonValue] = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry.chosen.text)
    return {
        "tokens": [entry.chosen.text for entry in entries],
        "token_logprobs": [entry.chosen.logprob for entry in entries],
        "top_logprobs": [
            {chance.text: chance.logprob for chance in (*reversed(entry.top), entry.chosen)}
            for entry in entries
        ],
        "text_offset": offsets,
    }


def embeddings_body(result: Embeddings, model: str, *, packed: bool) -> dict[str, JsonValue]:
    """The body of `/v1/embeddings`; ``packed`` sends little-endian float32 as base64."""
    data: list[JsonValue] = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _pack(vector) if packed else list(vector),
        }
        for index, vector in enumerate(result.vectors)
    ]
    tokens = result.prompt_tokens
    counts: dict[str, JsonValue] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": counts}


def _pack(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
