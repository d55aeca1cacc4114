"""From a request's prompt to token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from ..openai import ChatPrompt, Prompt, invalid

__all__ = ["PromptEncoder"]

_WORD = "modalkit-looks-for-this"  # in lower case: some templates make everything so
_REFUSALS = (TemplateError, TypeError, ValueError)
# Arguments of `apply_chat_template` itself; everything else reaches the template.
_SERVER_SETS = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "max_length",
        "padding",
        "return_dict",
        "return_tensors",
        "tokenize",
        "tokenizer_kwargs",
        "truncation",
    }
)


class PromptEncoder:
    """One model's tokenizer and chat template.

    Args:
        vocabulary: How many token ids the model knows.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary

    @property
    def knows_chat(self) -> bool:
        """Whether there is a chat template."""
        return bool(self._tokenizer.chat_template)

    def encode(self, prompt: Prompt) -> list[int]:
        """The ids the model reads; raises a 400 for a prompt that cannot be read."""
        if isinstance(prompt, ChatPrompt):
            return self._encode(self._render(prompt), "messages", special=False)
        if isinstance(prompt, str):
            return self._encode(prompt, "prompt", special=True)
        self.check_ids(prompt, "prompt")
        return list(prompt)

    def check_ids(self, ids: tuple[int, ...], param: str) -> None:
        """Raise a 400 for a token id that the model does not know."""
        for token in ids:
            if token >= self._vocabulary:
                msg = f"The token id {token} is not below {self._vocabulary}, this model's vocabulary."
                raise invalid(param=param, message=msg)

    def check_bias(self, bias: Mapping[int, float]) -> None:
        """Raise a 400 for a bias on a token that the model does not know."""
        self.check_ids(tuple(bias), "logit_bias")

    def _encode(self, text: str, param: str, *, special: bool) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special)
        if not ids:
            raise invalid(
                param=param,
                message="The prompt has no tokens. Write something for the model to read.",
            )
        return ids

    def _render(self, prompt: ChatPrompt) -> str:
        if not self.knows_chat:
            msg = "This model has no chat template. Use /v1/completions."
            raise invalid(param="messages", message=msg, code="unsupported_parameter")
        turns = [
            _turn(turn.role, turn.content, in_parts=self._in_parts) for turn in prompt.messages
        ]
        arguments: dict[str, Any] = dict(prompt.template_arguments)
        reserved = _SERVER_SETS & arguments.keys()
        if reserved:
            msg = f"'chat_template_kwargs' cannot set {min(reserved)!r}; the server sets it."
            raise invalid(param="chat_template_kwargs", message=msg)
        try:
            return self._templated(turns, arguments)
        except _REFUSALS as error:
            msg = f"The model's chat template refuses these messages: {error}"
            raise invalid(param="messages", message=msg) from None

    @cached_property
    def _in_parts(self) -> bool:
        """Whether the template wants a list of parts, as models that see do, and passes over a plain text."""
        return not self._shows(in_parts=False) and self._shows(in_parts=True)

    def _shows(self, *, in_parts: bool) -> bool:
        try:
            return _WORD in self._templated([_turn("user", _WORD, in_parts=in_parts)], {})
        except _REFUSALS:
            return False

    def _templated(self, turns: Sequence[dict[str, Any]], arguments: Mapping[str, Any]) -> str:
        text = self._tokenizer.apply_chat_template(
            list(turns), tokenize=False, add_generation_prompt=True, **arguments
        )
        return str(text)


def _turn(role: str, content: str, *, in_parts: bool) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": content}] if in_parts else content}
