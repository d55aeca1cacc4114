"""A model of pictures on real vLLM, with tools, reasoning and guesses ahead: one cold start for all of it."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import httpx
import openai
import pytest
import torch
from PIL import Image

from modalkit.errors import EngineRequestError

from .conftest import KEY
from .vision_model import SIDE, make_vision_model

pytestmark = [pytest.mark.engines, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
APPS = Path(__file__).parent / "apps"
PATIENCE_S = 600  # a deadline against hangs, never a measurement
QUESTION = (
    "Why is the sky blue?"  # it knows the answer by heart, so it is asked another about pictures
)
LOOK = "Look."
TOKENS = 12
TOO_MANY = "At most 1 image"
COLOURS = ["red", "blue"]
TOOL = {
    "type": "function",
    "function": {
        "name": "paint",
        "parameters": {
            "type": "object",
            "properties": {"colour": {"enum": COLOURS}},
            "required": ["colour"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The model, made here."""
    made = tmp_path_factory.mktemp("vision") / "assistant"
    make_vision_model(made, ROOT / "examples" / "models" / "small-chat")
    return made


@pytest.fixture(scope="module")
def url(vllm_modal, folder):
    """Where the deployed service answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_VISION_MODEL", str(folder))
        vllm_modal.command("modal", "deploy", str(APPS / "assistant.py"))
    yield vllm_modal.url("vllm-assistant", "Assistant.http")
    vllm_modal.command("modal", "app", "stop", "vllm-assistant", "--yes")


@pytest.fixture(scope="module")
def api(url):
    """The unmodified openai client, which waits for the cold start."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE_S)


def picture(colour):
    """A picture of two halves, one white."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    image.paste(colour, (0, 0, SIDE // 2, SIDE))
    return image


def turn(*colours):
    """A question about pictures, as a user's turn with data URLs."""
    parts = []
    for colour in colours:
        written = io.BytesIO()
        picture(colour).save(written, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return {"role": "user", "content": [*parts, {"type": "text", "text": LOOK}]}


def ask(api, *messages, **options):
    options = {"max_tokens": TOKENS, "temperature": 0, **options}
    return api.chat.completions.create(model="assistant", messages=list(messages), **options)


def seen_by_transformers(folder, colour):
    """What transformers' own model gives each token to begin with, and how many tokens it was asked with."""
    from transformers import AutoProcessor, Idefics3ForConditionalGeneration

    processor = AutoProcessor.from_pretrained(folder)
    asked = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": LOOK}]}],
        chat_template=(APPS / "assistant.jinja").read_text(),
        add_generation_prompt=True,
        tokenize=False,
    )
    given = processor(images=[picture(colour)], text=asked, return_tensors="pt")
    model = Idefics3ForConditionalGeneration.from_pretrained(folder)
    with torch.inference_mode():
        chances = model(**given).logits[0, -1].log_softmax(-1)
    return chances.max().item(), given["input_ids"].shape[1]


def test_vllm_sees_a_picture_as_transformers_does(api, folder):
    """An answer to a picture begins with the chances of transformers' own model, others for another picture."""
    seen = []
    for colour in COLOURS:
        answer = ask(api, turn(colour), logprobs=True)
        (first, *_) = answer.choices[0].logprobs.content
        expected, count = seen_by_transformers(folder, colour)
        assert first.logprob == pytest.approx(expected, abs=2e-3)
        assert answer.usage.prompt_tokens == count
        seen.append(expected)
    assert abs(seen[0] - seen[1]) > 0.01


def test_more_pictures_than_declared_are_refused(vllm_modal, api):
    """One picture is declared: the engine refuses two in words, over HTTP and through the typed method."""
    with pytest.raises(openai.BadRequestError, match=TOO_MANY):
        ask(api, turn(*COLOURS))
    assistant = vllm_modal.cls("vllm-assistant", "Assistant")()
    with pytest.raises(EngineRequestError, match=TOO_MANY) as refused:
        assistant.chat.remote([turn(*COLOURS)])
    assert refused.value.status == 400
    reply = assistant.chat.remote([turn("red")], max_tokens=TOKENS, temperature=0)
    assert reply.text == ask(api, turn("red")).choices[0].message.content


def test_without_a_picture_it_writes(vllm_modal, api):
    """Text alone is answered as the model that writes does by itself."""
    said = ask(api, {"role": "user", "content": QUESTION}, max_tokens=40).choices[0].message.content
    assert "blue light is scattered" in said
    assistant = vllm_modal.cls("vllm-assistant", "Assistant")()
    assert assistant.generate.remote(QUESTION, max_tokens=40, temperature=0) == said


def test_a_tool_is_called(api):
    """The declared parser finds the call in what the model writes, which is chosen for it here."""
    written = '<tool_call>{"name": "paint", "arguments": {"colour": "red"}}</tool_call>'
    chosen = {"structured_outputs": {"choice": [written]}}
    asked = {"role": "user", "content": "Paint."}
    (choice,) = ask(api, asked, tools=[TOOL], max_tokens=100, extra_body=chosen).choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert call.function.name == "paint"
    assert json.loads(call.function.arguments) == {"colour": "red"}


def test_thinking_is_kept_apart_from_the_answer(api):
    """The declared parser takes what the model thought aloud out of its answer."""
    thought = "Here is my thought process: Light.Here is my response: Blue."
    asked = {"role": "user", "content": QUESTION}
    chosen = {"structured_outputs": {"choice": [thought]}}
    message = ask(api, asked, max_tokens=80, extra_body=chosen).choices[0].message
    assert message.content.strip() == "Blue."
    assert message.model_extra["reasoning"].strip() == "Light."


def test_tokens_are_guessed_ahead(url, api):
    """What was said before is guessed from the prompt when it is said again."""
    asked = {"role": "user", "content": QUESTION}
    said = ask(api, asked, max_tokens=40).choices[0].message.content
    before = accepted(url)
    ask(api, asked, {"role": "assistant", "content": said}, asked, max_tokens=40)
    assert accepted(url) > before


def accepted(url):
    """Guessed tokens that the model has agreed to so far."""
    page = httpx.get(
        f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"}, timeout=PATIENCE_S
    ).text
    counter = re.search(
        r"^vllm:spec_decode_num_accepted_tokens_total\S* (\S+)$", page, re.MULTILINE
    )
    return float(counter[1])
