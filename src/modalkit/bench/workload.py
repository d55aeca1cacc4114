"""The next request of a load, as bytes that only have to be sent."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Literal, NamedTuple, Protocol

from pydantic import JsonValue

from .inputs import Maker
from .lengths import Lengths, Size
from .prompts import Ruler, text_of
from .target import Target

__all__ = ["Extras", "Fixed", "Kind", "OpenAIWorkload", "Prompt", "TypedWorkload", "Workload"]

Kind = Literal["chat", "completions", "embeddings", "route"]


class Workload(Protocol):
    """Where requests come from."""

    @property
    def title(self) -> str:
        """What is sent, in a line."""

    def next(self) -> bytes:
        """Return the next request."""


class Extras(NamedTuple):
    """What is asked of an OpenAI route beyond what each server understands.

    Attributes:
        usage: Ask a stream for its token counts (``stream_options``).
        ignore_eos: Ask for answers of exactly the wanted length, which vLLM and SGLang understand.
    """

    usage: bool = True
    ignore_eos: bool = True


class Prompt(NamedTuple):
    """A prompt that was given, and the most tokens of its answer."""

    text: str
    tokens_out: int


class OpenAIWorkload:
    """Requests to an OpenAI route: prompts that were given, or made of a length.

    Args:
        target: Where they go.
        path: The route.
        kind: Which it is.
        model: The model's name.
        lengths: How long prompts and answers are.
        prompts: Prompts to send instead, over and over.
        ruler: Tokens of words on this server.
        extras: What the server understands.
        seed: The same seed draws the same requests.
    """

    def __init__(
        self,
        target: Target,
        path: str,
        kind: Kind,
        *,
        model: str,
        lengths: Lengths,
        prompts: Sequence[Prompt] = (),
        ruler: Ruler = Ruler(),  # noqa: B008 - a value
        extras: Extras = Extras(),  # noqa: B008
        seed: int = 0,
    ) -> None:
        self._target = target
        self._path = path
        self._kind = kind
        self._model = model
        self._lengths = lengths
        self._given: Iterator[Prompt] | None = cycle(prompts) if prompts else None
        self._prompts = prompts
        self._ruler = ruler
        self._extras = extras
        self._chance = random.Random(seed)  # noqa: S311 - a load, not a secret

    @property
    def title(self) -> str:
        """What is sent."""
        if self._prompts:
            count = len(self._prompts)
            return "one prompt, over and over" if count == 1 else f"{count} prompts in turn"
        if self._kind == "embeddings":
            return f"texts of {self._lengths.title.split(':')[0]} tokens"
        return f"{self._lengths.title} tokens, in and out"

    @property
    def with_words(self) -> bool:
        """Whether prompts are made, so that a ruler is of use."""
        return not self._prompts

    def next(self) -> bytes:
        """Return the next request."""
        if self._given is not None:
            prompt = next(self._given)
            return self.of(prompt.text, prompt.tokens_out)
        size: Size = self._lengths.draw(self._chance)
        return self.of(text_of(self._ruler.words(size.tokens_in), self._chance), size.tokens_out)

    def of(self, text: str, tokens_out: int) -> bytes:
        """Return a request with a text."""
        return self._target.request("POST", self._path, _bytes(self._body(text, tokens_out)))

    def _body(self, text: str, tokens_out: int) -> dict[str, JsonValue]:
        if self._kind == "embeddings":
            return {"model": self._model, "input": text}
        body: dict[str, JsonValue] = {
            "model": self._model,
            "max_tokens": tokens_out,
            "temperature": 0,
            "stream": True,
        }
        if self._kind == "chat":
            body["messages"] = [{"role": "user", "content": text}]
        else:
            body["prompt"] = text
        if self._extras.usage:
            body["stream_options"] = {"include_usage": True}
        if self._extras.ignore_eos:
            body["ignore_eos"] = True
        return body

    def but(self, *, ruler: Ruler | None = None, extras: Extras | None = None) -> OpenAIWorkload:
        """Return it for a server that is now better known."""
        return OpenAIWorkload(
            self._target,
            self._path,
            self._kind,
            model=self._model,
            lengths=self._lengths,
            prompts=self._prompts,
            ruler=ruler or self._ruler,
            extras=extras or self._extras,
            seed=self._chance.randrange(2**31),
        )

    @property
    def extras(self) -> Extras:
        """What is asked beyond what each server understands."""
        return self._extras


class TypedWorkload:
    """Requests to a typed route, made from its schema.

    Args:
        target: Where they go.
        path: The route.
        method: Its HTTP method.
        schema: The schema of its body; None sends none.
        document: The OpenAPI document around it.
        seed: The same seed draws the same requests.
    """

    def __init__(
        self,
        target: Target,
        path: str,
        method: str,
        schema: Mapping[str, JsonValue] | None,
        document: Mapping[str, JsonValue],
        *,
        seed: int = 0,
    ) -> None:
        self._target, self._path, self._method = target, path, method
        chance = random.Random(seed)  # noqa: S311 - a load, not a secret
        self._maker = None if schema is None else Maker(schema, document, chance)

    @property
    def title(self) -> str:
        """What is sent."""
        return "inputs made from the JSON schema" if self._maker else "no body"

    def next(self) -> bytes:
        """Return the next request."""
        body = _bytes(self._maker.make()) if self._maker else b""
        return self._target.request(self._method, self._path, body)


class Fixed:
    """Bodies that were given, over and over.

    Args:
        target: Where they go.
        path: The route.
        method: Its HTTP method.
        bodies: What is sent in turn.
        content_type: What they are.
    """

    def __init__(
        self,
        target: Target,
        path: str,
        method: str,
        bodies: Sequence[bytes],
        content_type: str = "application/json",
    ) -> None:
        requests = [target.request(method, path, body, content_type) for body in bodies]
        self._count = len(requests)
        self._requests = cycle(requests)

    @property
    def title(self) -> str:
        """What is sent."""
        return "one input, over and over" if self._count == 1 else f"{self._count} inputs in turn"

    def next(self) -> bytes:
        """Return the next request."""
        return next(self._requests)


def _bytes(body: JsonValue) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
