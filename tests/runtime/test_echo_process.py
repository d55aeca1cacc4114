"""The stand-in engine through the unmodified `openai` client and plain HTTP."""

from __future__ import annotations

import math
import signal
import socket
import threading
import time

import httpx
import openai
import pytest

PATIENCE_S = 60  # a deadline against hangs, never a measurement
KEYS = {"ECHO_KEYS": "old-key,new-key"}
HELLO = [{"role": "user", "content": "hello brave new world"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "enum": ["C", "F"]},
            },
        },
    },
}


@pytest.fixture(scope="module")
def engine(start_engine):
    return start_engine("echo", "--api-key-env", "ECHO_KEYS", "--context-length", "100", **KEYS)


@pytest.fixture(scope="module")
def client(engine):
    return openai.OpenAI(base_url=f"{engine.url}/v1", api_key="new-key", max_retries=0)


def test_the_model_list_says_that_it_is_a_stand_in(client):
    """Nobody can mistake it for a model."""
    (model,) = client.models.list().data
    assert (model.id, model.owned_by) == ("echo", "modalkit-echo (stand-in)")
    assert client.models.retrieve("echo").id == "echo"


def test_a_chat_repeats_the_last_user_message(client):
    """The answer is known in advance, and a token is a word."""
    answer = client.chat.completions.create(model="echo", messages=HELLO)
    assert answer.choices[0].message.content == "hello brave new world"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 4)


def test_a_stream_says_word_by_word_and_then_counts(client):
    """Role first, then a word per chunk, the reason to end, and the usage."""
    chunks = list(
        client.chat.completions.create(
            model="echo", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert words == ["", "hello", " brave", " new", " world", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 8
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_does_not_count_unasked(client):
    """Without include_usage no chunk has usage, and every chunk has a choice."""
    chunks = list(client.chat.completions.create(model="echo", messages=HELLO, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_before_its_stop_string(client, stream: bool):
    """A stop string across two words is found, and no part of it is said."""
    answer = client.chat.completions.create(
        model="echo", messages=HELLO, stop=["ve ne", "zzz"], stream=stream
    )
    if stream:
        chunks = list(answer)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert (text, reason) == ("hello bra", "stop")


def test_max_tokens_ends_an_answer(client):
    """Both names of the field cut after so many words and say why."""
    for name in ("max_tokens", "max_completion_tokens"):
        answer = client.chat.completions.create(model="echo", messages=HELLO, **{name: 2})
        assert answer.choices[0].message.content == "hello brave"
        assert answer.choices[0].finish_reason == "length"


def test_several_prompts_and_answers_are_numbered(client):
    """Answer j of prompt i is choice i * n + j, with the API's limit of 16 tokens."""
    long = " ".join(map(str, range(20)))
    answer = client.completions.create(model="echo", prompt=["a b", long], n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [choice.finish_reason for choice in answer.choices] == ["stop"] * 2 + ["length"] * 2
    assert answer.usage.completion_tokens == 2 * 2 + 2 * 16


def test_log_probabilities_have_both_forms(client):
    """Every word was certain; chat and plain completions report it in their own shape."""
    chat = client.chat.completions.create(
        model="echo", messages=HELLO, logprobs=True, top_logprobs=1
    )
    entry = chat.choices[0].logprobs.content[1]
    assert (entry.token, entry.logprob, bytes(entry.bytes)) == (" brave", 0.0, b" brave")
    assert entry.top_logprobs[0].token == " brave"
    plain = client.completions.create(model="echo", prompt="a bc d", logprobs=1)
    assert plain.choices[0].logprobs.text_offset == [0, 1, 4]
    assert plain.choices[0].logprobs.token_logprobs == [0.0, 0.0, 0.0]


def test_streamed_log_probabilities_continue_the_offsets(client):
    """Each chunk counts characters from the beginning of the answer."""
    chunks = client.completions.create(model="echo", prompt="a bc d", logprobs=0, stream=True)
    offsets = [offset for chunk in chunks for offset in chunk.choices[0].logprobs.text_offset]
    assert offsets == [0, 1, 4]


@pytest.mark.parametrize("stream", [False, True])
def test_a_function_is_called_when_required(client, stream: bool):
    """The arguments follow the function's schema; the call is the same every time."""
    answer = client.chat.completions.create(
        model="echo",
        messages=HELLO,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        stream=stream,
    )
    if stream:
        chunks = list(answer)
        (call,) = [c for chunk in chunks for c in chunk.choices[0].delta.tool_calls or []]
        reason = chunks[-1].choices[0].finish_reason
    else:
        (call,), reason = answer.choices[0].message.tool_calls, answer.choices[0].finish_reason
    assert call.function.name == "weather"
    assert call.function.arguments == '{"city": "hello brave new world", "days": 0, "unit": "C"}'
    assert reason == "tool_calls"


def test_a_tool_loop_ends(client):
    """A user who names the function gets a call; its result is then said as the answer."""
    messages = [{"role": "user", "content": "use weather please"}]
    first = client.chat.completions.create(model="echo", messages=messages, tools=[WEATHER])
    call = first.choices[0].message.tool_calls[0]
    messages += [
        first.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = client.chat.completions.create(model="echo", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "sunny"


def test_equal_texts_have_equal_unit_vectors(client):
    """Vectors depend on the text alone and have length one, in floats and in base64."""
    packed = client.embeddings.create(model="echo", input=["a", "b", "a"])
    plain = client.embeddings.create(model="echo", input=["a"], encoding_format="float")
    first, other, again = (entry.embedding for entry in packed.data)
    assert first == again != other
    assert len(first) == 384
    assert math.isclose(math.hypot(*first), 1, rel_tol=1e-6)
    assert plain.data[0].embedding == pytest.approx(first)
    short = client.embeddings.create(model="echo", input="a", dimensions=8)
    assert len(short.data[0].embedding) == 8


@pytest.mark.parametrize("key", ["wrong", "", "new-key,old-key"])
def test_a_wrong_key_is_refused_as_openai_does(engine, key: str):
    """A 401 with the code programs look for, and the key is not repeated."""
    with pytest.raises(openai.AuthenticationError) as caught:
        openai.OpenAI(base_url=f"{engine.url}/v1", api_key=key or "-", max_retries=0).models.list()
    assert caught.value.code == "invalid_api_key"
    assert not key or key not in str(caught.value)


def test_every_key_of_a_rotation_is_accepted(engine):
    """Old and new key work side by side."""
    for key in ("old-key", "new-key"):
        openai.OpenAI(base_url=f"{engine.url}/v1", api_key=key).models.list()


def test_probes_need_no_key_and_everything_else_does(engine):
    """Health and metrics are open; even an unknown path asks for the key first."""
    status = {path: httpx.get(engine.url + path).status_code for path in ("/health", "/metrics")}
    assert status == {"/health": 200, "/metrics": 200}
    for path in ("/v1/models", "/", "/nope", "/health/", "/metrics/x"):
        assert httpx.get(engine.url + path).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nope", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("GET", "/v1/models/other", 404, "model_not_found"),
    ],
)
def test_every_error_has_one_shape(engine, method: str, path: str, status: int, code: str):
    """Clients find message, type, param and code wherever they look."""
    answer = httpx.request(method, engine.url + path, headers={"Authorization": "Bearer new-key"})
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == code


def test_an_unknown_model_is_not_found(client):
    """A 404 that names what is served."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-7", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_long_prompt_is_refused(client):
    """The context length counts prompt and answer."""
    for words, asked in ((101, None), (60, 50)):
        message = {"role": "user", "content": "word " * words}
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="echo", messages=[message], max_tokens=asked)
        assert caught.value.code == "context_length_exceeded"


def test_a_request_can_ask_to_fail(client):
    """A status of the test's choice, with a time to come back."""
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(
            model="echo", messages=HELLO, extra_headers={"X-Modalkit-Fail": "429"}
        )
    assert caught.value.response.headers["retry-after"] == "1"
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model="echo", input="a", extra_headers={"X-Modalkit-Fail": "500"})


def test_every_nth_request_fails(start_engine):
    """A client that retries sees the failure only in its delay."""
    engine = start_engine("echo", "--fail-every", "2", "--served-model-name", "org/name")
    url = f"{engine.url}/v1/completions"
    body = {"model": "org/name", "prompt": "a"}
    assert [httpx.post(url, json=body).status_code for _ in range(4)] == [200, 429, 200, 429]
    assert httpx.get(f"{engine.url}/v1/models/org/name").status_code == 200


def test_a_client_that_leaves_stops_its_answer(engine):
    """The answer would have taken minutes; the running count falls to zero at once."""
    headers = {"Authorization": "Bearer new-key", "X-Modalkit-Delay-Ms": "60000"}
    body = {"model": "echo", "messages": HELLO, "stream": True}
    url = f"{engine.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data:")
        assert engine.eventually("modalkit_requests_running", 1)
    assert engine.eventually("modalkit_requests_running", 0)


def test_a_client_that_leaves_a_whole_answer_stops_it_too(engine):
    """Nothing was streamed, and yet the disconnect is seen."""
    headers = {"Authorization": "Bearer new-key", "X-Modalkit-Ttft-Ms": "60000"}
    body = {"model": "echo", "messages": HELLO}
    cancelled = engine.metric("modalkit_requests_cancelled_total")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{engine.url}/v1/chat/completions", json=body, headers=headers, timeout=1)
    assert engine.eventually("modalkit_requests_running", 0)
    assert engine.eventually("modalkit_requests_cancelled_total", cancelled + 1)


def test_metrics_count_requests_and_tokens(start_engine):
    """One request of two words, in Prometheus' format."""
    engine = start_engine("echo")
    httpx.post(f"{engine.url}/v1/completions", json={"model": "echo", "prompt": "a b"})
    page = httpx.get(f"{engine.url}/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'modalkit_requests_total{route="/v1/completions",status="200"} 1',
        "modalkit_prompt_tokens_total 2",
        "modalkit_completion_tokens_total 2",
        "modalkit_time_to_first_token_seconds_count 1",
        'modalkit_inter_token_latency_seconds_bucket{le="+Inf"} 2',
    ):
        assert line in page.text.splitlines()


def test_sigterm_lets_answers_finish(start_engine):
    """An answer under way is complete, and the process ends with status 0."""
    engine = start_engine("echo", "--delay-ms", "100")
    answers: list[httpx.Response] = []
    body = {"model": "echo", "prompt": "one two three four five six seven eight"}
    url = f"{engine.url}/v1/completions"
    asking = threading.Thread(target=lambda: answers.append(httpx.post(url, json=body)))
    asking.start()
    assert engine.eventually("modalkit_requests_running", 1)
    engine.process.send_signal(signal.SIGTERM)
    asking.join(timeout=60)
    assert answers[0].json()["choices"][0]["text"] == body["prompt"]
    assert engine.process.wait(timeout=60) == 0


def test_sigterm_does_not_wait_beyond_the_grace(start_engine):
    """An answer that takes minutes is cut when the grace is over."""
    engine = start_engine("echo", "--ttft-ms", "600000", "--grace-s", "1")
    body = {"model": "echo", "prompt": "a"}

    def ask() -> None:
        with pytest.raises(httpx.HTTPError):
            httpx.post(f"{engine.url}/v1/completions", json=body, timeout=60).raise_for_status()

    asking = threading.Thread(target=ask)
    asking.start()
    assert engine.eventually("modalkit_requests_running", 1)
    engine.process.send_signal(signal.SIGTERM)
    assert engine.process.wait(timeout=60) == 0
    asking.join(timeout=60)


def test_a_named_variable_without_a_key_does_not_open_the_server(start_engine):
    """A closed server must not open because a secret is missing."""
    engine = start_engine("echo", "--api-key-env", "NO_SUCH_KEY", wait=False)
    assert engine.process.wait(timeout=60) == 2
    assert "'NO_SUCH_KEY'" in engine.log.read_text().splitlines()[-1]


def test_readiness_is_said_on_stderr(engine):
    """A person who started it sees where it listens; the key is not there."""
    line = engine.log.read_text().splitlines()[-1]
    assert line.startswith(f"ready: echo on {engine.url} (")
    assert "key" not in line


def test_a_client_that_leaves_while_it_asks_is_no_failure(start_engine):
    """A body that ends before it is whole leaves no trace of an error in the log."""
    engine = start_engine("echo")
    host, _, port = engine.url.removeprefix("http://").partition(":")
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
    with socket.create_connection((host, int(port))) as line:
        line.sendall(head.encode())
    deadline = time.monotonic() + PATIENCE_S
    while 'status="400"' not in httpx.get(f"{engine.url}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "Traceback" not in engine.log.read_text()
