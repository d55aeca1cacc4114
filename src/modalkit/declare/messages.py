"""What goes into a chat and what comes out, as values that travel between containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from .._values import Value

__all__ = [
    "AudioPart",
    "AudioURL",
    "CalledFunction",
    "ContentPart",
    "ImagePart",
    "ImageURL",
    "Message",
    "MessageToolCall",
    "Ranked",
    "Reply",
    "TextPart",
    "ToolCall",
    "Usage",
    "VideoPart",
    "VideoURL",
]


class TextPart(TypedDict):
    """Text beside images, sounds or videos."""

    type: Literal["text"]
    text: str


class ImageURL(TypedDict):
    """Where an image is: ``data:image/png;base64,...``, or an address that the engine fetches."""

    url: str
    detail: NotRequired[Literal["auto", "low", "high"]]


class ImagePart(TypedDict):
    """An image, for models that see."""

    type: Literal["image_url"]
    image_url: ImageURL


class AudioURL(TypedDict):
    """Where a sound is: ``data:audio/wav;base64,...``, or an address that the engine fetches."""

    url: str


class AudioPart(TypedDict):
    """A sound, for models that listen."""

    type: Literal["audio_url"]
    audio_url: AudioURL


class VideoURL(TypedDict):
    """Where a video is: ``data:video/mp4;base64,...``, or an address that the engine fetches."""

    url: str


class VideoPart(TypedDict):
    """A video, for models that watch."""

    type: Literal["video_url"]
    video_url: VideoURL


ContentPart = TextPart | ImagePart | AudioPart | VideoPart


class CalledFunction(TypedDict):
    """A function's name and its arguments, as the JSON text the model wrote."""

    name: str
    arguments: str


class MessageToolCall(TypedDict):
    """A call that an earlier answer asked for, sent back with it."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class Message(TypedDict):
    """One turn of a conversation, in the OpenAI API's own shape.

    ``content`` is text, or a list of parts where an image, a sound or a video belongs to it; ``None`` only in
    an answer that called tools.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Sequence[ContentPart] | None
    name: NotRequired[str]
    tool_calls: NotRequired[Sequence[MessageToolCall]]
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

    def message(self) -> Message:
        """Return the answer as a turn of the conversation, for the next question.

        Examples:
            >>> Reply(text="Blue.", finish_reason="stop", usage=None).message()
            {'role': 'assistant', 'content': 'Blue.'}
        """
        if not self.tool_calls:
            return Message(role="assistant", content=self.text)
        calls = [
            MessageToolCall(
                id=call.id,
                type="function",
                function=CalledFunction(name=call.name, arguments=call.arguments),
            )
            for call in self.tool_calls
        ]
        return Message(role="assistant", content=self.text or None, tool_calls=calls)
