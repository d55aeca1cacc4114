"""The remote methods of a service with an engine.

`serve` makes each of these functions a Modal method of the service's class, so ``self`` is the
user's instance in its container. Type checkers read the same signatures through `ModelService`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..declare.messages import Message, Ranked, Reply, ToolCall, Usage

if TYPE_CHECKING:
    from ..service import ModelService
    from .engine_client import EngineClient

__all__ = ["chat", "embed", "generate", "rerank", "stream"]


async def generate(
    self: ModelService,
    prompt: str,
    *,
    raw: bool = False,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: Sequence[str] | None = None,
    seed: int | None = None,
    schema: Mapping[str, object] | None = None,
) -> str:
    """Answer one prompt.

    Args:
        prompt: What the user says; with ``raw`` the text the model continues.
        raw: Send the prompt as it is, without the model's chat template.
        max_tokens: Longest answer in tokens. Default: the engine's.
        temperature: Randomness; 0 always takes the likeliest token. Default: the model's own.
        top_p: Share of probability to draw from. Default: the model's own.
        stop: Texts that end the answer; they are not part of it.
        seed: Makes a random answer repeatable.
        schema: JSON schema that the answer follows, such as ``Model.model_json_schema()``.

    Raises:
        EngineRequestError: The engine refused the request.
    """
    options = _options(max_tokens, temperature, top_p, stop, seed, schema=schema)
    if raw:
        answer: Any = await _client(self).post("/v1/completions", {"prompt": prompt, **options})
        return str(answer["choices"][0]["text"])
    messages = [Message(role="user", content=prompt)]
    answer = await _client(self).post("/v1/chat/completions", {"messages": messages, **options})
    return str(answer["choices"][0]["message"]["content"] or "")


async def chat(
    self: ModelService,
    messages: Sequence[Message],
    *,
    tools: Sequence[dict[str, object]] | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: Sequence[str] | None = None,
    seed: int | None = None,
    schema: Mapping[str, object] | None = None,
) -> Reply:
    """Answer a conversation.

    Args:
        messages: The turns so far, oldest first.
        tools: Functions the model may ask for, in the OpenAI API's shape.
        max_tokens: Longest answer in tokens. Default: the engine's.
        temperature: Randomness; 0 always takes the likeliest token. Default: the model's own.
        top_p: Share of probability to draw from. Default: the model's own.
        stop: Texts that end the answer; they are not part of it.
        seed: Makes a random answer repeatable.
        schema: JSON schema that the answer follows, such as ``Model.model_json_schema()``.

    Raises:
        EngineRequestError: The engine refused the request.
    """
    options = _options(max_tokens, temperature, top_p, stop, seed, schema=schema)
    body = {"messages": list(messages), "tools": list(tools) if tools else None, **options}
    return _reply(await _client(self).post("/v1/chat/completions", body))


async def stream(
    self: ModelService,
    prompt: str | Sequence[Message],
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: Sequence[str] | None = None,
    seed: int | None = None,
    schema: Mapping[str, object] | None = None,
) -> AsyncGenerator[str, None]:
    """Answer a prompt or a conversation piece by piece; call it with ``remote_gen``.

    Args:
        prompt: What the user says, or the turns so far.
        max_tokens: Longest answer in tokens. Default: the engine's.
        temperature: Randomness; 0 always takes the likeliest token. Default: the model's own.
        top_p: Share of probability to draw from. Default: the model's own.
        stop: Texts that end the answer; they are not part of it.
        seed: Makes a random answer repeatable.
        schema: JSON schema that the answer follows, such as ``Model.model_json_schema()``.

    Yields:
        Pieces of text; joined they are the answer.

    Raises:
        EngineRequestError: The engine refused the request.
    """
    said = [Message(role="user", content=prompt)] if isinstance(prompt, str) else list(prompt)
    body = {"messages": said, **_options(max_tokens, temperature, top_p, stop, seed, schema=schema)}
    chunk: Any
    async for chunk in _client(self).events("/v1/chat/completions", body):
        for choice in chunk.get("choices", ()):
            if piece := choice["delta"].get("content"):
                yield str(piece)


async def embed(
    self: ModelService, texts: Sequence[str], *, dimensions: int | None = None
) -> list[list[float]]:
    """Return one vector per text, in order.

    Args:
        texts: What to embed.
        dimensions: Length of each vector, where the model can be cut. Default: the model's own.

    Raises:
        EngineRequestError: The engine refused the request, or serves no embeddings.
    """
    body = {"input": list(texts), "dimensions": dimensions, "encoding_format": "float"}
    answer: Any = await _client(self).post("/v1/embeddings", body)
    rows = sorted(answer["data"], key=lambda row: row["index"])
    return [row["embedding"] for row in rows]


async def rerank(
    self: ModelService, query: str, documents: Sequence[str], *, top_n: int | None = None
) -> list[Ranked]:
    """Rank documents by how well they answer a query, the best first.

    Args:
        query: What is looked for.
        documents: What is ranked.
        top_n: How many to return at most. Default: all of them.

    Raises:
        EngineRequestError: The engine refused the request, or its model ranks nothing.
    """
    body = {"query": query, "documents": list(documents), "top_n": top_n}
    answer = json.loads(await _client(self).post_raw("/v1/rerank", body))
    rows = answer if isinstance(answer, list) else answer["results"]  # SGLang's, or vLLM's
    scored = [(row["index"], row.get("relevance_score", row.get("score"))) for row in rows]
    ranked = sorted(scored, key=lambda pair: -pair[1])[:top_n]
    return [Ranked(index=index, score=score) for index, score in ranked]


def _client(service: ModelService) -> EngineClient:
    client: EngineClient = service._modalkit_engine.client  # type: ignore[attr-defined]  # noqa: SLF001 - set by engine_host at start
    return client


def _options(
    max_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    stop: Sequence[str] | None,
    seed: int | None,
    *,
    schema: Mapping[str, object] | None,
) -> dict[str, object]:
    return {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "stop": list(stop) if stop else None,
        "seed": seed,
        "response_format": _follows(schema) if schema is not None else None,
    }


def _follows(schema: Mapping[str, object]) -> dict[str, object]:
    named = {"name": "answer", "schema": dict(schema), "strict": True}
    return {"type": "json_schema", "json_schema": named}


def _reply(answer: Any) -> Reply:
    choice = answer["choices"][0]
    message = choice["message"]
    calls = tuple(
        ToolCall(
            id=call["id"],
            name=call["function"]["name"],
            arguments=call["function"]["arguments"],
        )
        for call in message.get("tool_calls") or ()
    )
    usage = answer.get("usage")
    return Reply(
        text=message.get("content") or "",
        finish_reason=choice["finish_reason"],
        usage=Usage(
            prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"]
        )
        if usage
        else None,
        tool_calls=calls,
        reasoning=message.get("reasoning_content") or message.get("reasoning") or "",
    )
