"""What the stand-in says: pure functions of the request.

The rules, complete:

* A token is a word with the white space before it.
* The answer is the text of the last user or tool message, word for word; for a plain completion
  it is the prompt, and token ids are spoken as decimal numbers.
* A function is called instead when ``tool_choice`` demands it, or when the last message is the
  user's and contains a function's name. Strings in its arguments are that message, numbers are
  0, booleans false, arrays empty; an ``enum`` gives its first value and a ``default`` itself.
* A text's vector is a unit vector made from its SHA-256 digest; equal texts have equal vectors.
* Every word has probability one, so sampling parameters change nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping

from pydantic import JsonValue

from ..openai import ChatPrompt, Prompt, TokenChance, TokenLogprob, Tool, ToolCall

__all__ = ["answer", "certain", "prompt_words", "tool_call", "unit_vector", "words"]

_WORD = re.compile(r"\s*\S+|\s+$")
_BYTES_PER_NUMBER = 8


def words(text: str) -> list[str]:
    """The tokens of a text; joined they are the text."""
    return _WORD.findall(text)


def answer(prompt: Prompt) -> str:
    """What is said to this prompt."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, tuple):
        return " ".join(map(str, prompt))
    heard = [turn.content for turn in prompt.messages if turn.role in {"user", "tool"}]
    return heard[-1] if heard else ""


def prompt_words(prompt: Prompt) -> int:
    """How many tokens a prompt has."""
    if isinstance(prompt, ChatPrompt):
        return sum(len(words(turn.content)) for turn in prompt.messages)
    return len(words(answer(prompt)))


def certain(word: str) -> TokenLogprob:
    """A word that had no alternative."""
    chance = TokenChance(word, word.encode(), 0.0)
    return TokenLogprob(chance, (chance,))


def tool_call(prompt: Prompt) -> ToolCall | None:
    """The function call this prompt asks for, if any."""
    if not isinstance(prompt, ChatPrompt) or not prompt.tools or prompt.tool_choice == "none":
        return None
    said = answer(prompt)
    chosen = _chosen(prompt, said)
    if chosen is None:
        return None
    arguments = _example(chosen.parameters or {"type": "object"}, said)
    text = json.dumps(arguments, ensure_ascii=False)
    digest = hashlib.sha256(f"{chosen.name}{text}".encode()).hexdigest()
    return ToolCall(f"call_{digest[:24]}", chosen.name, text)


def _chosen(prompt: ChatPrompt, said: str) -> Tool | None:
    if prompt.tool_choice.startswith("="):
        return next(tool for tool in prompt.tools if tool.name == prompt.tool_choice[1:])
    asked_by_user = prompt.messages[-1].role == "user"
    named = [tool for tool in prompt.tools if asked_by_user and tool.name in said]
    if named:
        return named[0]
    return prompt.tools[0] if prompt.tool_choice == "required" else None


def _example(schema: Mapping[str, JsonValue], said: str) -> JsonValue:
    """A value that a JSON schema allows, for the plain schemas that functions have."""
    if "default" in schema:
        return schema["default"]
    allowed = schema.get("enum")
    if isinstance(allowed, list) and allowed:
        return allowed[0]
    plain: dict[JsonValue, JsonValue] = {
        "string": said,
        "integer": 0,
        "number": 0.0,
        "boolean": False,
        "array": [],
    }
    kind = schema.get("type")
    properties = schema.get("properties")
    if kind == "object" or isinstance(properties, dict):
        fields = properties if isinstance(properties, dict) else {}
        return {
            name: _example(inner, said) for name, inner in fields.items() if isinstance(inner, dict)
        }
    return plain.get(kind) if isinstance(kind, str) else None


def unit_vector(text: str, dimensions: int) -> list[float]:
    """A direction that depends on every character of the text."""
    seed = hashlib.sha256(text.encode()).digest()
    stream = hashlib.shake_256(seed).digest(dimensions * _BYTES_PER_NUMBER)
    whole = struct.unpack(f"<{dimensions}q", stream)
    length = math.sqrt(sum(number * number for number in whole)) or 1.0
    return [number / length for number in whole]
