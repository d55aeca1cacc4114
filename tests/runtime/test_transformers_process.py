"""The transformers engine as a process, through the unmodified `openai` client."""

from __future__ import annotations

import asyncio
import signal
import time

import httpx
import openai
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HELLO = [{"role": "user", "content": "def parse(body): return"}]
GREEDY = {"model": "tiny", "messages": HELLO, "temperature": 0}


@pytest.fixture(scope="module")
def engine(start_engine, tiny_llama):
    flags = ("--served-model-name", "tiny", "--max-batch-size", "8", "--threads", "1")
    return start_engine("transformers", "--model", str(tiny_llama), *flags)


@pytest.fixture(scope="module")
def client(engine):
    return openai.OpenAI(base_url=f"{engine.url}/v1", api_key="unused", max_retries=0)


def generated(folder, messages, count: int) -> list[int]:
    """What `generate` answers, alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=count, do_sample=False)
    return output[0, inputs.input_ids.shape[1] :].tolist()


def test_many_chats_at_once_equal_generate(engine, tiny_llama):
    """Twenty conversations of different lengths over eight rows, token for token."""
    questions = [[{"role": "user", "content": f"value {i} " * (i % 7 + 1)}] for i in range(20)]

    async def ask_all() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="-") as client:
            answers = [
                client.chat.completions.create(
                    model="tiny", messages=question, temperature=0, max_tokens=12
                )
                for question in questions
            ]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*answers)]

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    expected = [
        tokenizer.decode(generated(tiny_llama, question, 12), skip_special_tokens=True)
        for question in questions
    ]
    assert asyncio.run(ask_all()) == expected


def test_the_model_is_listed(client):
    """One model, under its served name, with its context length."""
    (model,) = client.models.list().data
    assert (model.id, model.max_model_len) == ("tiny", 512)


def test_a_stream_says_the_same_as_a_whole_answer(client):
    """Text, reason and usage agree."""
    whole = client.chat.completions.create(**GREEDY, max_tokens=30)
    chunks = list(
        client.chat.completions.create(
            **GREEDY, max_tokens=30, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens <= 30


def test_a_stop_string_inside_the_answer_ends_it(client):
    """Any piece of the text that would come, cut at any place, stops before itself."""
    whole = client.chat.completions.create(**GREEDY, max_tokens=30).choices[0].message.content
    for start in range(3, 12):
        stop = whole[start : start + 4]
        answer = client.chat.completions.create(**GREEDY, max_tokens=30, stop=stop)
        assert answer.choices[0].message.content == whole[: whole.index(stop)]
        assert answer.choices[0].finish_reason == "stop"


def test_ignore_eos_goes_on_to_the_limit(client):
    """For measurements: the number of tokens is what was asked for."""
    answer = client.completions.create(
        model="tiny", prompt="x", max_tokens=200, extra_body={"ignore_eos": True}
    )
    assert answer.usage.completion_tokens == 200
    assert answer.choices[0].finish_reason == "length"


def test_a_seed_repeats_an_answer_in_any_company(client, engine):
    """Alone, and while seven others are being generated."""
    sampled = {"model": "tiny", "messages": HELLO, "temperature": 1.2, "top_p": 0.95}
    # Sums in another order differ in their last bits. Of 600 tokens' borders one may lie so close to a
    # draw; of eight, none of 1,536 answers in company differed.
    sampled["extra_body"] = {"top_k": 8}

    def ask(seed: int) -> str:
        answer = client.chat.completions.create(**sampled, max_tokens=20, seed=seed)
        return answer.choices[0].message.content

    async def crowd() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="-") as busy:
            answers = [
                busy.chat.completions.create(**sampled, max_tokens=20, seed=seed)
                for seed in range(8)
            ]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*answers)]

    alone = [ask(seed) for seed in range(8)]
    assert len(set(alone)) == 8
    assert asyncio.run(crowd()) == alone


def test_several_answers_to_one_seed_differ_and_repeat(client):
    """Three choices are three answers, the same three next time."""
    ask = {"model": "tiny", "prompt": "class", "n": 3, "seed": 5, "max_tokens": 10}
    first, second = [
        [choice.text for choice in client.completions.create(**ask).choices] for _ in range(2)
    ]
    assert first == second
    assert len(set(first)) == 3


def test_log_probabilities_agree_with_the_choice(client):
    """A greedy token is the likeliest, chances are below one, and the text is theirs."""
    answer = client.chat.completions.create(**GREEDY, max_tokens=8, logprobs=True, top_logprobs=3)
    entries = answer.choices[0].logprobs.content
    assert len(entries) == answer.usage.completion_tokens
    for entry in entries:
        ranked = [chance.logprob for chance in entry.top_logprobs]
        assert (entry.token, entry.logprob) == (entry.top_logprobs[0].token, ranked[0])
        assert ranked == sorted(ranked, reverse=True)
        assert ranked[0] < 0
    said = b"".join(bytes(entry.bytes) for entry in entries).decode(errors="replace")
    assert said.startswith(answer.choices[0].message.content)


def test_a_streamed_token_has_its_log_probability(client):
    """Every token's chance is in some chunk, also of plain completions."""
    chunks = client.completions.create(
        model="tiny", prompt="def", temperature=0, max_tokens=6, logprobs=2, stream=True
    )
    entries = [chunk.choices[0].logprobs for chunk in chunks]
    assert sum(len(entry.tokens) for entry in entries) == 6
    assert all(len(top) >= 2 for entry in entries for top in entry.top_logprobs)


def test_a_bias_decides(client, tiny_llama):
    """A token pushed by 100 is said all the time."""
    token = AutoTokenizer.from_pretrained(tiny_llama).encode("x")[0]
    answer = client.chat.completions.create(**GREEDY, max_tokens=4, logit_bias={str(token): 100})
    assert answer.choices[0].message.content == "xxxx"


def test_prompts_may_be_token_ids(client, tiny_llama):
    """Text and its ids give the same answer."""
    ids = AutoTokenizer.from_pretrained(tiny_llama).encode("import json")
    answer = client.completions.create(
        model="tiny", prompt=["import json", "x"], temperature=0, max_tokens=5
    )
    by_ids = client.completions.create(model="tiny", prompt=ids, temperature=0, max_tokens=5)
    assert by_ids.choices[0].text == answer.choices[0].text


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"extra_body": {"unheard_of": 1}}, "unheard_of"),
        ({"logit_bias": {"100000": 1}}, "logit_bias"),
        ({"max_tokens": 512}, "messages"),
        ({"messages": [{"role": "user", "content": "x " * 600}]}, "messages"),
        ({"messages": [*HELLO, {"role": "system", "content": "late"}]}, "messages"),
        ({"extra_body": {"chat_template_kwargs": {"tokenize": True}}}, "chat_template_kwargs"),
    ],
)
def test_what_cannot_be_done_is_refused(client, changes: dict[str, object], param: str):
    """A 400 that names the parameter, before anything is generated."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**GREEDY, **changes}, stream=True)
    assert caught.value.param == param


def test_a_prompt_beyond_the_vocabulary_is_refused(client):
    """An unknown token id would be read as nonsense, or crash."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt=[1, 10**6])
    assert caught.value.param == "prompt"


def test_a_text_model_does_not_embed(client):
    """The route is there; the model is not for it."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="tiny", input="x")
    assert "'tiny'" in caught.value.message


def test_a_client_that_leaves_frees_its_row(engine):
    """Generation would go on for hundreds of tokens; it stops and the row is free."""
    body = {**GREEDY, "max_tokens": 480, "stream": True, "ignore_eos": True, "n": 8}
    url = f"{engine.url}/v1/chat/completions"
    before = engine.metric("modalkit_completion_tokens_total")
    with httpx.stream("POST", url, json=body, timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data:")
    assert engine.eventually("modalkit_requests_running", 0)
    assert engine.metric("modalkit_completion_tokens_total") - before < 8 * 480


def test_a_full_queue_is_429(start_engine, tiny_llama):
    """One runs, one waits, the third is told when to come back; the two are answered."""
    flags = ("--max-batch-size", "1", "--max-waiting", "1", "--threads", "1")
    engine = start_engine("transformers", "--model", str(tiny_llama), *flags)
    ask = {"model": str(tiny_llama), "prompt": "x", "max_tokens": 400}

    async def three() -> list[object]:
        async with openai.AsyncOpenAI(
            base_url=f"{engine.url}/v1", api_key="-", max_retries=0
        ) as client:
            asks = [
                client.completions.create(**ask, extra_body={"ignore_eos": True}) for _ in range(3)
            ]
            return await asyncio.gather(*asks, return_exceptions=True)

    answers = asyncio.run(three())
    refused = [answer for answer in answers if isinstance(answer, openai.RateLimitError)]
    assert len(refused) == 1
    assert refused[0].response.headers["retry-after"] == "1"
    assert [a.usage.completion_tokens for a in answers if a not in refused] == [400, 400]
    never = httpx.post(f"{engine.url}/v1/completions", json={**ask, "n": 3})
    assert (never.status_code, never.json()["error"]["param"]) == (400, "n")


def test_the_port_answers_while_the_model_loads(start_engine, tiny_llama):
    """Health is 503 first, so is a chat; both are 200 in the end."""
    name = ("--served-model-name", "tiny")
    engine = start_engine("transformers", "--model", str(tiny_llama), *name, wait=False)
    seen: list[tuple[int, int]] = []
    deadline = time.monotonic() + 120
    while (200, 200) not in seen and time.monotonic() < deadline:
        try:
            health = httpx.get(f"{engine.url}/health").status_code
            chat = httpx.post(
                f"{engine.url}/v1/chat/completions", json={**GREEDY, "max_tokens": 1}, timeout=60
            )
        except httpx.ConnectError:
            time.sleep(0.05)
            continue
        seen.append((health, chat.status_code))
    assert seen[0] == (503, 503)
    assert seen[-1] == (200, 200)
    engine.process.send_signal(signal.SIGTERM)
    assert engine.process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--model", "/nowhere/model"), "/nowhere/model"),
        (("--context-length", "4096"), "--context-length 512"),
        (("--max-kv-tokens", "10", "--context-length", "100"), "--context-length 9"),
        (("--device", "cuda:7"), "'cuda:7'"),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_the_process(start_engine, tiny_llama, flags, words):
    """Status 1, and the last line on stderr says why."""
    given = flags if "--model" in flags else ("--model", str(tiny_llama), *flags)
    engine = start_engine("transformers", *given, wait=False)
    assert engine.process.wait(timeout=120) == 1
    last = engine.log.read_text().splitlines()[-1]
    assert words in last
