"""The bodies of `/v1/completions` and `/v1/embeddings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from .backend import Capabilities, EmbeddingRequest, GenerationRequest
from .fields import Body, GenerationBody
from .problems import invalid, unsupported

__all__ = ["CompletionBody", "EmbeddingBody"]

_MAX_INPUTS = 2048
_DEFAULT_MAX_TOKENS = 16  # the API's own default for plain completions
_MAX_COMPLETION_LOGPROBS = 20

_TokenId = Annotated[int, Field(ge=0)]
_Text = str | list[str] | list[_TokenId] | list[list[_TokenId]]


class CompletionBody(GenerationBody):
    """A request to continue one or several prompts, given as text or as token ids."""

    NEUTRAL: ClassVar[Mapping[str, tuple[Sequence[JsonValue], str]]] = {
        "echo": ((False,), "Join the prompt and the answer in the client."),
        "suffix": (("",), "Leave it out."),
    }

    prompt: _Text
    logprobs: Annotated[int, Field(ge=0, le=_MAX_COMPLETION_LOGPROBS)] | None = None
    best_of: int | None = None
    echo: JsonValue = None
    suffix: JsonValue = None

    @property
    def wants_logprobs(self) -> bool:
        """Whether log probabilities are part of the answer."""
        return self.logprobs is not None

    def request(self, can: Capabilities, options: Mapping[str, str]) -> GenerationRequest:
        """The neutral request; raises a 400 for what this backend cannot honour."""
        if self.best_of not in {None, self.n or 1}:
            raise unsupported(
                param="best_of", instead="Ask for 'n' answers and choose in the client."
            )
        if not can.logprobs and self.logprobs is not None:
            raise unsupported(param="logprobs", instead="Leave it out.")
        return GenerationRequest(
            prompts=_inputs(self.prompt, "prompt"),
            n=self.n or 1,
            sampling=self.sampling(),
            max_tokens=self.max_tokens or _DEFAULT_MAX_TOKENS,
            stop=self.stop_strings(),
            top_logprobs=self.logprobs,
            ignore_eos=bool(self.ignore_eos),
            options=options,
        )


class EmbeddingBody(Body):
    """A request for one vector per input."""

    input: _Text
    dimensions: Annotated[int, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None

    def request(self, options: Mapping[str, str]) -> EmbeddingRequest:
        """The neutral request."""
        return EmbeddingRequest(_inputs(self.input, "input"), self.dimensions, options)


def _inputs(given: _Text, param: str) -> tuple[str | tuple[int, ...], ...]:
    """Four spellings of "one or several texts", as a tuple of texts or token ids."""
    if isinstance(given, str):
        return (given,)
    if len(given) > _MAX_INPUTS and not isinstance(given[0], int):
        msg = f"{param!r} has {len(given)} entries; {_MAX_INPUTS} is the most."
        raise invalid(param=param, message=msg)
    ids = tuple(item for item in given if isinstance(item, int))
    texts = tuple(
        item if isinstance(item, str) else tuple(item)
        for item in given
        if not isinstance(item, int)
    )
    inputs = (ids,) if ids else texts
    if not inputs or () in inputs:
        raise invalid(param=param, message=f"{param!r} has an entry without tokens, or no entry.")
    return inputs
