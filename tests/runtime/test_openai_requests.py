from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.runtime.openai import ApiError, Capabilities, ChatPrompt
from modalkit.runtime.openai.chat_request import ChatBody
from modalkit.runtime.openai.completion_request import CompletionBody, EmbeddingBody
from modalkit.runtime.openai.fields import parse

CAN = Capabilities()
HELLO = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def chat(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": [HELLO], **fields}).encode()


def refused(raw: bytes, can: Capabilities = CAN) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(ChatBody, raw).request(can, {})
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"logit_bias": {"abc": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"odd": 1}}, "stream_options.odd"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
        ({"messages": [HELLO, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{**HELLO, "weight": 1}]}, "messages[0].weight"),
        ({"messages": [{**HELLO, "name": "ann"}]}, "messages[0].name"),
        ({"messages": [{"role": "tool", "content": "1"}]}, "messages[0].tool_calls"),
        ({"messages": "hello"}, "messages"),
        ({"tools": [TOOL]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs"),
        ({"best_of": 2}, "best_of"),
        ({"model": ""}, "model"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], param: str):
    """A 400 says which field to change, in the client's own document."""
    assert refused(chat(**fields)).param == param


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_format", {"type": "json_object"}),
        ("reasoning_effort", "low"),
        ("store", True),
        ("metadata", {"a": "b"}),
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
        ("modalities", ["audio"]),
        ("parallel_tool_calls", False),
        ("prediction", {"type": "content", "content": "x"}),
        ("service_tier", "flex"),
        ("verbosity", "low"),
        ("web_search_options", {"search_context_size": "low"}),
        ("prompt_cache_key", "k"),
    ],
)
def test_what_could_only_be_ignored_is_refused(name: str, value: object):
    """Every field of the OpenAI API that would change the answer is refused by name."""
    error = refused(chat(**{name: value}))
    assert (error.param, error.code) == (name, "unsupported_parameter")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_format", {"type": "text"}),
        ("store", False),
        ("modalities", ["text"]),
        ("parallel_tool_calls", True),
        ("service_tier", "auto"),
        ("user", "u-1"),
        ("safety_identifier", "u-1"),
        ("tool_choice", "none"),
        ("tools", []),
        ("temperature", None),
        ("n", None),
        ("stop", None),
        ("logprobs", None),
    ],
)
def test_a_value_that_asks_for_nothing_special_is_accepted(name: str, value: object):
    """Clients send defaults and nulls; those change nothing."""
    parse(ChatBody, chat(**{name: value})).request(CAN, {})


@given(st.from_regex(r"[a-z_]{1,20}", fullmatch=True))
def test_an_unknown_field_is_refused(name: str):
    """A misspelt field is an error, not silence."""
    if name in ChatBody.model_fields:
        return
    error = refused(chat(**{name: 1}))
    assert (error.param, error.code) == (name, "unknown_parameter")


@given(st.binary(max_size=40))
def test_any_bytes_give_a_400_and_nothing_else(raw: bytes):
    """No body, however odd, is an internal error."""
    assert refused(raw).code


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"text"'])
def test_a_body_must_be_an_object(raw: bytes):
    """Other JSON has no field to name."""
    assert refused(raw).param is None


def test_a_missing_field_is_named():
    """The client learns what to add."""
    error = refused(b'{"model": "m"}')
    assert (error.param, error.code) == ("messages", "missing_required_parameter")


def test_content_parts_and_newer_roles_become_plain_turns():
    """Text parts are joined, and "developer" is what templates call "system"."""
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    messages = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}]
    (prompt,) = parse(ChatBody, chat(messages=messages)).request(CAN, {}).prompts
    assert isinstance(prompt, ChatPrompt)
    assert [(turn.role, turn.content) for turn in prompt.messages] == [
        ("system", "be brief"),
        ("user", "one two"),
    ]


def test_an_answer_can_be_sent_back_as_a_message():
    """The nulls that a client adds to an earlier answer mean nothing."""
    answer = {"role": "assistant", "content": "hi", "refusal": None, "audio": None}
    answer |= {"function_call": None, "tool_calls": None, "annotations": None}
    parse(ChatBody, chat(messages=[HELLO, answer, HELLO])).request(CAN, {})


def test_an_image_is_refused_where_it_stands():
    """Only text can be read."""
    parts = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    error = refused(chat(messages=[{"role": "user", "content": parts}]))
    assert error.param == "messages[0].content[0]"


def test_a_named_function_must_be_among_the_tools():
    """A tool choice that cannot be met is refused."""
    choice = {"type": "function", "function": {"name": "lost"}}
    error = refused(chat(tools=[TOOL], tool_choice=choice), Capabilities(tools=True))
    assert error.param == "tool_choice"


@pytest.mark.parametrize(
    ("prompt", "inputs"),
    [
        ("a", ("a",)),
        ("", ("",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
    ],
)
def test_prompts_have_four_spellings(prompt: object, inputs: object):
    """Text, texts, token ids, and lists of token ids."""
    raw = json.dumps({"model": "m", "prompt": prompt}).encode()
    assert parse(CompletionBody, raw).request(CAN, {}).prompts == inputs
    raw = json.dumps({"model": "m", "input": prompt}).encode()
    assert parse(EmbeddingBody, raw).request({}).inputs == inputs


@pytest.mark.parametrize("prompt", [[], [[]], [[1], []], ["a", 1], [-1], {"a": 1}, None])
def test_other_prompts_are_refused(prompt: object):
    """Nothing to read, or no prompt at all."""
    raw = json.dumps({"model": "m", "prompt": prompt}).encode()
    with pytest.raises(ApiError) as caught:
        parse(CompletionBody, raw).request(CAN, {})
    assert (caught.value.param or "").startswith("prompt")


def test_plain_completions_default_to_sixteen_tokens():
    """The API's own default; chat has none."""
    raw = b'{"model": "m", "prompt": "a"}'
    assert parse(CompletionBody, raw).request(CAN, {}).max_tokens == 16
    assert parse(ChatBody, chat()).request(CAN, {}).max_tokens is None
