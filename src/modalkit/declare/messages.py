"""What goes into a chat and what comes out, as values that travel between containers."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from .._values import Value

__all__ = ["Message", "Ranked", "Reply", "ToolCall", "Usage"]


class Message(TypedDict):
    """One turn of a conversation, in the OpenAI API's own shape."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str
    name: NotRequired[str]
    tool_call_id: NotRequired[str]


class Usage(Value):
    """Tokens of one request, as the engine counted them."""

    prompt_tokens: int
    completion_tokens: int


class ToolCall(Value):
    """A function the model asks the caller to run.

    Attributes:
        id: Sent back as ``tool_call_id`` with the result.
        name: The function's name.
        arguments: Its arguments as the JSON text the model wrote.
    """

    id: str
    name: str
    arguments: str


class Ranked(Value):
    """A document's place in a ranking.

    Attributes:
        index: Which of the documents, counted from 0.
        score: How well it answers the query; more is better, and the scale is the model's own.
    """

    index: int
    score: float


class Reply(Value):
    """A model's answer to a conversation.

    Attributes:
        text: What it said; empty when it only calls tools.
        finish_reason: ``"stop"``, ``"length"``, ``"tool_calls"`` or the engine's own word.
        usage: Token counts; ``None`` where the engine does not tell.
        tool_calls: Functions it asks for, in order.
        reasoning: What it thought aloud, where the engine separates that.
    """

    text: str
    finish_reason: str
    usage: Usage | None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""

    def __str__(self) -> str:
        return self.text
