"""The body of `/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from .backend import Capabilities, ChatMessage, ChatPrompt, GenerationRequest, Tool, ToolCall
from .fields import MAX_TOP_LOGPROBS, GenerationBody
from .problems import invalid, unsupported

__all__ = ["ChatBody"]

_Nothing: Sequence[JsonValue] = (False, [], {})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _ContentPart(_Part):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: JsonValue = None
    input_audio: JsonValue = None
    audio_url: JsonValue = None
    video_url: JsonValue = None
    file: JsonValue = None


class _FunctionCall(_Part):
    name: str
    arguments: str


class _CallPart(_Part):
    id: str
    type: Literal["function"] = "function"
    function: _FunctionCall
    index: int | None = None


class _Message(_Part):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_ContentPart] | None = None
    name: str | None = None
    tool_calls: list[_CallPart] | None = None
    tool_call_id: str | None = None
    # An assistant message of an earlier answer comes back with these; only null means nothing.
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: list[JsonValue] | None = None


class _Function(_Part):
    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None


class _ToolPart(_Part):
    type: Literal["function"]
    function: _Function


class _NamedFunction(_Part):
    name: str


class _ToolChoice(_Part):
    type: Literal["function"]
    function: _NamedFunction


class ChatBody(GenerationBody):
    """A chat request; `request` turns it into what a backend understands."""

    NEUTRAL: ClassVar[Mapping[str, tuple[Sequence[JsonValue], str]]] = {
        "audio": (_Nothing, "Answers are text."),
        "function_call": (_Nothing, "Use 'tools' and 'tool_choice'."),
        "functions": (_Nothing, "Use 'tools'."),
        "metadata": (_Nothing, "Nothing is stored, so leave it out."),
        "modalities": ((["text"],), 'Only ["text"] is possible.'),
        "moderation": (_Nothing, "Leave it out."),
        "parallel_tool_calls": ((True,), "Leave it out."),
        "prediction": (_Nothing, "Leave it out."),
        "prompt_cache_key": ((), "Leave it out."),
        "prompt_cache_options": (_Nothing, "Leave it out."),
        "prompt_cache_retention": ((), "Leave it out."),
        "reasoning_effort": ((), "Leave it out."),
        "response_format": (({"type": "text"},), 'Only {"type": "text"} is possible.'),
        "service_tier": (("auto", "default"), "Leave it out."),
        "store": (_Nothing, "Nothing is stored, so leave it out."),
        "verbosity": ((), "Say in the prompt how long the answer should be."),
        "web_search_options": (_Nothing, "Leave it out."),
    }

    messages: list[_Message] = Field(min_length=1)
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    tools: list[_ToolPart] | None = None
    tool_choice: Literal["none", "auto", "required"] | _ToolChoice | None = None
    chat_template_kwargs: dict[str, JsonValue] | None = None
    safety_identifier: str | None = None  # like `user`: a label that changes no answer
    audio: JsonValue = None
    function_call: JsonValue = None
    functions: JsonValue = None
    metadata: JsonValue = None
    modalities: JsonValue = None
    moderation: JsonValue = None
    parallel_tool_calls: JsonValue = None
    prediction: JsonValue = None
    prompt_cache_key: JsonValue = None
    prompt_cache_options: JsonValue = None
    prompt_cache_retention: JsonValue = None
    reasoning_effort: JsonValue = None
    response_format: JsonValue = None
    service_tier: JsonValue = None
    store: JsonValue = None
    verbosity: JsonValue = None
    web_search_options: JsonValue = None

    @property
    def wants_logprobs(self) -> bool:
        """Whether log probabilities are part of the answer."""
        return bool(self.logprobs)

    def request(self, can: Capabilities, options: Mapping[str, str]) -> GenerationRequest:
        """The neutral request; raises a 400 for what this backend cannot honour."""
        self._refuse_beyond(can)
        if self.top_logprobs is not None and not self.logprobs:
            raise invalid(param="top_logprobs", message="'top_logprobs' needs 'logprobs': true.")
        if None not in (self.max_tokens, self.max_completion_tokens):
            raise invalid(
                param="max_tokens",
                message="Give 'max_completion_tokens' or 'max_tokens', not both.",
            )
        return GenerationRequest(
            prompts=(self._prompt(can),),
            n=self.n or 1,
            sampling=self.sampling(),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=self.stop_strings(),
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            ignore_eos=bool(self.ignore_eos),
            options=options,
        )

    def _refuse_beyond(self, can: Capabilities) -> None:
        if not can.tools and self.tools:
            raise unsupported(
                param="tools", instead="Serve the model with SGLang or vLLM to call functions."
            )
        if not can.tools and self.tool_choice not in {None, "none", "auto"}:
            raise unsupported(param="tool_choice", instead="Serve the model with SGLang or vLLM.")
        if self.tool_choice not in {None, "none", "auto"} and not self.tools:
            raise invalid(param="tool_choice", message="'tool_choice' needs 'tools'.")
        if not can.template_arguments and self.chat_template_kwargs:
            raise unsupported(param="chat_template_kwargs", instead="Leave it out.")
        if not can.logprobs and self.logprobs:
            raise unsupported(param="logprobs", instead="Leave it out.")

    def _prompt(self, can: Capabilities) -> ChatPrompt:
        messages = tuple(
            _message(message, f"messages[{place}]", can)
            for place, message in enumerate(self.messages)
        )
        return ChatPrompt(
            messages=messages,
            tools=tuple(_tool(part.function) for part in self.tools or ()),
            tool_choice=self._tool_choice(),
            template_arguments=self.chat_template_kwargs or {},
        )

    def _tool_choice(self) -> str:
        """``none``, ``auto``, ``required``, or ``=NAME`` for one named function."""
        if not isinstance(self.tool_choice, _ToolChoice):
            return self.tool_choice or "auto"
        name = self.tool_choice.function.name
        if name not in {part.function.name for part in self.tools or ()}:
            raise invalid(
                param="tool_choice",
                message=f"'tool_choice' names {name!r}, which is not in 'tools'.",
            )
        return f"={name}"


def _tool(function: _Function) -> Tool:
    return Tool(function.name, function.description or "", function.parameters or {})


def _message(message: _Message, place: str, can: Capabilities) -> ChatMessage:
    if message.name is not None:
        raise unsupported(param=f"{place}.name", instead="Put the name into the content.")
    if not can.tools and (message.role == "tool" or message.tool_calls):
        raise unsupported(
            param=f"{place}.tool_calls", instead="Serve the model with SGLang or vLLM."
        )
    if message.role == "tool" and message.tool_call_id is None:
        raise invalid(param=f"{place}.tool_call_id", message="A tool message needs 'tool_call_id'.")
    if message.content is None and message.role != "assistant":
        raise invalid(
            param=f"{place}.content", message="Only an assistant message may be without content."
        )
    # "developer" is the newer name of "system"; chat templates know the older one.
    role = "system" if message.role == "developer" else message.role
    return ChatMessage(
        role=role,
        content=_text(message.content, f"{place}.content"),
        tool_calls=tuple(
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
        ),
        tool_call_id=message.tool_call_id,
    )


def _text(content: str | list[_ContentPart] | None, place: str) -> str:
    if not isinstance(content, list):
        return content or ""
    for number, part in enumerate(content):
        if part.type != "text" or part.text is None:
            raise unsupported(
                param=f"{place}[{number}]",
                instead=f"Only text parts are, not {part.type!r}: a model that sees or hears "
                "takes SGLang or vLLM.",
            )
    return "".join(part.text or "" for part in content)
