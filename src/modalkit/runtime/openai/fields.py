"""Request fields that chat and plain completions share, and how their values are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import ErrorDetails, from_json

from .backend import Sampling
from .problems import ApiError, invalid, unsupported

__all__ = ["MAX_TOP_LOGPROBS", "Body", "GenerationBody", "StreamOptions", "parse"]

MAX_CHOICES = 128
MAX_TOP_LOGPROBS = 20
MAX_STOPS = 16
_MAX_TOKEN_ID = 2**31
_MAX_SHOWN = 80  # characters of a refused value


class Body(BaseModel):
    """A request body: no unknown field, no silent conversion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    # Fields of the OpenAI API that can only be honoured when they ask for nothing special:
    # the values that do, and what to do instead.
    NEUTRAL: ClassVar[Mapping[str, tuple[Sequence[JsonValue], str]]] = {}

    model: str = Field(min_length=1)
    user: str | None = None  # a label for the provider's abuse reports; it changes no answer

    def refuse_special(self) -> None:
        """Raise a 400 for the first field that could only be ignored."""
        for name, (neutral, instead) in self.NEUTRAL.items():
            value: JsonValue = getattr(self, name)
            if value is not None and value not in neutral:
                raise unsupported(param=name, instead=instead)


BodyT = TypeVar("BodyT", bound=Body)


class StreamOptions(BaseModel):
    """``stream_options``; ``include_obfuscation`` may only be false."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class GenerationBody(Body):
    """What `/v1/chat/completions` and `/v1/completions` share.

    ``top_k``, ``min_p``, ``repetition_penalty`` and ``ignore_eos`` are not OpenAI's; they are
    named as SGLang and vLLM name them.
    """

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is sent as server-sent events."""
        return bool(self.stream)

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def refuse_special(self) -> None:
        """Raise a 400 for the first field that could only be ignored."""
        super().refuse_special()
        if self.stream_options is not None and not self.streams:
            raise invalid(param="stream_options", message="'stream_options' needs 'stream': true.")
        if self.stream_options is not None and self.stream_options.include_obfuscation:
            raise unsupported(param="stream_options.include_obfuscation", instead="Leave it out.")

    def stop_strings(self) -> tuple[str, ...]:
        """The stop strings, refused when empty or too many."""
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stops) > MAX_STOPS:
            raise invalid(
                param="stop",
                message=f"At most {MAX_STOPS} stop strings are possible, not {len(stops)}.",
            )
        if "" in stops:
            raise invalid(param="stop", message="A stop string must not be empty.")
        return stops

    def sampling(self) -> Sampling:
        """How to draw tokens, with the API's defaults filled in."""
        temperature = self.temperature if self.temperature is not None else 1.0
        repetition = self.repetition_penalty if self.repetition_penalty is not None else 1.0
        return Sampling(
            temperature=temperature,
            top_p=self.top_p if self.top_p is not None else 1.0,
            top_k=max(self.top_k or 0, 0),
            min_p=self.min_p or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            repetition_penalty=repetition,
            logit_bias=_token_ids(self.logit_bias or {}),
            seed=self.seed,
        )


def _token_ids(bias: Mapping[str, float]) -> dict[int, float]:
    for token in bias:
        if not token.isdecimal() or int(token) >= _MAX_TOKEN_ID:
            msg = f"'logit_bias' maps token ids to numbers; {token!r} is not a token id."
            raise invalid(param="logit_bias", message=msg)
    return {int(token): value for token, value in bias.items()}


def parse(body: type[BodyT], raw: bytes) -> BodyT:
    """Validate a JSON body; raise a 400 that names the first field at fault."""
    try:
        parsed = body.model_validate_json(raw)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0], raw) from None
    parsed.refuse_special()
    return parsed


def _refusal(detail: ErrorDetails, raw: bytes) -> ApiError:
    if detail["type"] == "json_invalid":
        msg = f"The body is not JSON: {detail['ctx']['error']}."
        return invalid(param=None, message=msg, code="invalid_json")
    if not detail["loc"]:
        return invalid(param=None, message="The body must be a JSON object.", code="invalid_type")
    param = _param(detail["loc"], from_json(raw))
    if detail["type"] == "missing":
        return invalid(
            param=param,
            message=f"Missing required parameter: {param!r}.",
            code="missing_required_parameter",
        )
    if detail["type"] == "extra_forbidden":
        msg = (
            f"Unrecognized request argument supplied: {param!r}. It would be ignored; leave it out."
        )
        return invalid(param=param, message=msg, code="unknown_parameter")
    value = repr(detail["input"])
    shown = value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}..."
    return invalid(
        param=param, message=f"Invalid value for {param!r}: {detail['msg']}; got {shown}."
    )


def _param(loc: tuple[int | str, ...], document: JsonValue) -> str:
    """The place in the client's own document; pydantic's also names union members."""
    path = ""
    here = document
    for part in loc:
        if isinstance(here, list) and isinstance(part, int):
            path += f"[{part}]"
            here = here[part]
        elif isinstance(here, dict) and isinstance(part, str) and (part in here or part == loc[-1]):
            path += f".{part}" if path else part
            here = here.get(part)
    return path
