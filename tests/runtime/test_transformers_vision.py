"""Models that see, on the transformers engine: asked for text alone, as they say it without a picture."""

from __future__ import annotations

import json
import subprocess
import sys

import openai
import pytest

from modalkit.errors import DeclarationError
from modalkit.runtime.transformers.load_text import load_text_engine
from modalkit.runtime.transformers.options import EngineOptions

PARTS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% elif part.type == 'image' %}<image>{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PARTS_OF = {
    "vision-encoder-decoder": {"encoder": {"model_type": "vit"}, "decoder": {"model_type": "gpt2"}}
}
HELLO = "def parse(body): return"


@pytest.fixture(scope="module")
def seeing(tiny_llama, tmp_path_factory):
    """A folder with a LLaVA of random weights, whose template reads lists of parts only."""
    from transformers import (
        AutoTokenizer,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    folder = tmp_path_factory.mktemp("seeing")
    config = LlavaConfig(
        text_config=LlamaConfig.from_pretrained(tiny_llama),
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        ),
        image_token_index=0,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = PARTS
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def client(start_engine, seeing):
    flags = ("--served-model-name", "seeing", "--threads", "1")
    engine = start_engine("transformers", "--model", str(seeing), *flags)
    return openai.OpenAI(base_url=f"{engine.url}/v1", api_key="unused", max_retries=0)


def test_its_text_is_what_generate_says(client, seeing):
    """A question without a picture is answered token for token as the model's own `generate` does."""
    from transformers import AutoTokenizer, LlavaForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(seeing)
    turns = [{"role": "user", "content": [{"type": "text", "text": HELLO}]}]
    asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert HELLO in asked
    inputs = tokenizer(asked, return_tensors="pt", add_special_tokens=False)
    model = LlavaForConditionalGeneration.from_pretrained(seeing)
    whole = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0]
    expected = tokenizer.decode(whole[inputs.input_ids.shape[1] :], skip_special_tokens=True)
    answer = client.chat.completions.create(
        model="seeing",
        messages=[{"role": "user", "content": HELLO}],
        temperature=0,
        max_tokens=12,
    )
    assert answer.choices[0].message.content == expected
    assert answer.usage.prompt_tokens == inputs.input_ids.shape[1]


def test_a_picture_is_refused_in_words(client):
    """The message says what cannot be sent here, and which engines take it."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    with pytest.raises(
        openai.BadRequestError, match=r"not 'image_url'.* SGLang or vLLM"
    ) as refused:
        client.chat.completions.create(
            model="seeing", messages=[{"role": "user", "content": [picture]}]
        )
    assert refused.value.param == "messages[0].content[0]"


def test_a_model_that_writes_nothing_is_named(tmp_path):
    """A model that does not go on with a text ends the start with its type and what to write instead."""
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=32, decoder_start_token_id=0, **sizes)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "modalkit.runtime.transformers", "--model", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "is of the type 't5', which does not go on with a text" in last
    assert "task='embed'" in last


@pytest.mark.parametrize(
    "kind", ["florence2", "t5gemma2", "udop", "pix2struct", "vision-encoder-decoder", "bart"]
)
def test_a_model_with_an_encoder_of_its_own_is_refused_as_well(kind, tmp_path):
    """A prompt belongs to its encoder, so nothing that goes on with a text is made of its decoder."""
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": kind, **PARTS_OF.get(kind, {})})
    )
    with pytest.raises(DeclarationError, match=f"'{kind}', which does not go on with a text"):
        load_text_engine(EngineOptions(model=str(tmp_path)))


@pytest.mark.parametrize("kind", ["blip-2", "instructblip"])
def test_a_model_that_sees_and_writes_with_an_encoder_is_refused_as_well(kind, tmp_path):
    """What counts is the part that writes: a T5 behind a picture is a T5."""
    config = {"model_type": kind, "text_config": {"model_type": "t5"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DeclarationError, match=f"'{kind}', which does not go on with a text"):
        load_text_engine(EngineOptions(model=str(tmp_path)))
