"""What a model process must offer so that the OpenAI routes can stand in front of it.

The routes validate a request, turn it into the neutral values below and hand it to a `Backend`.
A backend knows tokens and models; it knows nothing of HTTP, JSON or server-sent events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

__all__ = [
    "Backend",
    "Capabilities",
    "ChatMessage",
    "ChatPrompt",
    "Delta",
    "EmbeddingRequest",
    "Embeddings",
    "FinishReason",
    "Generation",
    "GenerationRequest",
    "Load",
    "ModelCard",
    "Prompt",
    "Sampling",
    "TokenChance",
    "TokenLogprob",
    "Tool",
    "ToolCall",
]

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What `/v1/models` says about the one model of this process.

    Attributes:
        id: The name clients send as ``model``.
        owned_by: Who answers for it; a stand-in says so here.
        context_length: The most tokens of prompt and answer together; None before loading.
    """

    id: str
    owned_by: str
    context_length: int | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend honours; the routes refuse the rest with 400, naming the parameter."""

    chat: bool = True
    completions: bool = True
    embeddings: bool = True
    tools: bool = False
    logprobs: bool = True
    penalties: bool = True
    template_arguments: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a function, as an assistant message carries it; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Tool:
    """One function the model may call; ``parameters`` is its JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation; content parts are already joined to text."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation, the functions it may call, and what its chat template is given besides."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    template_arguments: Mapping[str, JsonValue] = field(default_factory=dict)


Prompt = ChatPrompt | str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. The defaults are the OpenAI API's.

    Attributes:
        temperature: 0 is greedy.
        top_k: Only the k likeliest tokens; 0 is all.
        min_p: Only tokens at least this fraction as likely as the likeliest; 0 is all.
        repetition_penalty: Above 1 discourages tokens of the prompt and the answer.
        logit_bias: Added to the logits of these token ids.
        seed: The same seed and request give the same answer, whatever else is in the batch.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One validated request for text.

    Attributes:
        prompts: Each gives ``n`` answers; answer j of prompt i is choice ``i * n + j``.
        max_tokens: None is "up to the context length".
        stop: Strings that end an answer; they are not part of it.
        top_logprobs: None asks for no log probabilities, 0 for those of the chosen tokens only.
        ignore_eos: Go on past the model's end-of-text token, up to ``max_tokens``.
        options: Backend-specific switches that came as request headers.
    """

    prompts: tuple[Prompt, ...]
    n: int = 1
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    ignore_eos: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenChance:
    """A token and the natural logarithm of its probability under the model itself."""

    text: str
    utf8: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A chosen token, and the likeliest tokens at its place, best first."""

    chosen: TokenChance
    top: tuple[TokenChance, ...] = ()


@dataclass(slots=True)
class Delta:
    """What one answer gained since the last delta.

    Attributes:
        choice: Which answer.
        text: New visible text; may be empty while a character or a stop string is undecided.
        tokens: How many generated tokens this accounts for.
        finish_reason: Set on the last delta of the answer.
    """

    choice: int
    text: str = ""
    tokens: int = 0
    logprobs: Sequence[TokenLogprob] = ()
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: FinishReason | None = None


class Generation(Protocol):
    """A started generation: iterate it for what is new, a list per wake-up."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts together."""
        ...

    def __aiter__(self) -> AsyncIterator[Sequence[Delta]]:
        """Yield whatever is ready, until every choice has its ``finish_reason``."""
        ...

    def cancel(self) -> None:
        """Stop at once and free what it holds; harmless when it has already ended."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts or token ids to embed; ``dimensions`` None is the model's own width."""

    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector per input, in order, and the tokens they took."""

    vectors: Sequence[Sequence[float]]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Load:
    """How many answers are being generated and how many wait for their turn."""

    running: int
    waiting: int


class Backend(Protocol):
    """A model behind the routes."""

    @property
    def card(self) -> ModelCard:
        """The model's name; known before it is loaded."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it honours; asked for once it is loaded."""
        ...

    def load(self) -> str:
        """Load the model, blocking, in a thread of its own; answer one line on what was loaded."""
        ...

    def close(self) -> None:
        """Stop everything that runs."""
        ...

    def current_load(self) -> Load:
        """How busy it is now."""
        ...

    async def generate(self, request: GenerationRequest) -> Generation:
        """Queue a request. Raises `ApiError` for a prompt that does not fit or a full queue."""
        ...

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Embed all inputs. Raises `ApiError` as `generate` does."""
        ...
