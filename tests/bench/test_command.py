"""The command as a user types it: what it finds, prints, writes, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from modalkit.bench.limits import Limit
from modalkit.bench.report import read_report
from modalkit.blueprint.measured import read_measured
from modalkit.cli import main
from modalkit.errors import DeclarationError

from .conftest import END, MODELS, STREAM, token, usage, whole

PATIENCE_S = 120  # a deadline against hangs, never a measurement
SHORT = ("--requests", "12", "--warm-up", "0", "-c", "2", "--lengths", "20:4")
DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {
        "/embed": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Text"}}
                    }
                }
            }
        },
        "/health": {"get": {}},
    },
    "components": {
        "schemas": {
            "Text": {
                "type": "object",
                "required": ["text", "kind"],
                "properties": {
                    "text": {"type": "string"},
                    "kind": {"enum": ["a", "b"]},
                    "size": {"type": "integer", "default": 3},
                },
            }
        }
    },
}


def bench(*words: str, **variables: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, ["bench", *words], env={"MODALKIT_API_KEY": "", **variables})


@pytest.fixture
def chat(stand_in):
    """A stand-in chat: three tokens an answer, a word is two tokens, a template five."""

    async def reply(path, body, writer):
        if path == "/v1/models":
            writer.write(MODELS)
        elif path == "/v1/chat/completions":
            asked = json.loads(body)
            words = len(asked["messages"][0]["content"].split())
            writer.write(STREAM + token() * 3 + usage(5 + 2 * words, 3) + END)
        else:
            writer.write(whole("404 Not Found", b"{}"))

    return stand_in(reply)


@pytest.fixture
def typed(stand_in):
    """A stand-in service with one typed route and an OpenAPI document."""

    async def reply(path, _body, writer):
        found = {"/openapi.json": DOCUMENT, "/embed": [0.5]}.get(path)
        missing = found is None
        writer.write(whole("404 Not Found" if missing else "200 OK", json.dumps(found).encode()))

    return stand_in(reply)


def test_a_chat_is_found_and_its_prompts_have_the_tokens_asked_for(chat):
    """A base address is enough; the server's own count makes prompts of the right length."""
    done = bench(chat.url, *SHORT, "--lengths", "205:4", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["kind"], report["model"]) == ("chat", "stand-in")
    assert report["stages"][0]["tokens_in"] == pytest.approx(205, abs=1)
    assert report["stages"][0]["tokens_out"] == 3
    assert report["cold"]["was_cold"] is False


def test_the_table_has_every_load(chat):
    """Each load is a row; the figures, the rule and the generator's headroom are printed."""
    done = bench(chat.url, "-c", "1,2", "-r", "200", "-n", "12", "--warm-up", "0", "--gpu", "L4")
    assert done.exit_code == 0, done.output
    for word in (
        "c1",
        "c2",
        "r200",
        "TTFT",
        "TTLT",
        "P90 TTFT + P90 ITL x 3 tokens",
        "generator",
        "L4",
    ):
        assert word in done.output


def test_a_typed_route_gets_inputs_made_from_its_schema(typed):
    """The only route of a document is loaded with values its schema allows."""
    done = bench(typed.url, *SHORT, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["target"].endswith("/embed")
    for body in map(json.loads, typed.bodies):
        assert set(body) == {"text", "kind"}
        assert body["kind"] in {"a", "b"}


def test_inputs_that_are_given_are_sent_in_turn(typed, tmp_path):
    """Lines of a file and JSON in place are sent over and over."""
    file = tmp_path / "inputs.jsonl"
    file.write_text('{"n": 1}\n{"n": 2}\n')
    done = bench(typed.url, *SHORT, "--route", "embed", "--input", str(file), "--input", '{"n": 3}')
    assert done.exit_code == 0, done.output
    assert {json.loads(body)["n"] for body in typed.bodies} == {1, 2, 3}


def test_the_key_is_sent_and_never_told(chat, tmp_path):
    """A key of the environment is in every request and in nothing that is printed or written."""
    page = tmp_path / "report.html"
    done = bench(
        chat.url,
        *SHORT,
        "--key-env",
        "MY_KEY",
        "--json",
        "--html",
        str(page),
        MY_KEY="sk-very-secret",
    )
    assert done.exit_code == 0, done.output
    assert all("Bearer sk-very-secret" in head for head in chat.heads)
    assert "sk-very-secret" not in done.output + page.read_text()


def test_a_plan_reads_what_a_bench_wrote(chat, typed, tmp_path):
    """The JSON of a bench, unchanged, is a measurement for the price of a month."""
    for server, field in ((chat, "tokens_per_s"), (typed, "request_s")):
        done = bench(server.url, *SHORT, "--json")
        file = tmp_path / "bench.json"
        file.write_text(done.stdout)
        speed = read_measured(file)
        assert speed.slots == 2
        assert getattr(speed, field) > 0
        assert speed.source == "measured, bench.json"
        assert read_report(file).stages[0].load == "c2"


def test_limits_end_with_exit_code_one(chat):
    """A condition that holds is named with its load and value; one that does not is silent."""
    done = bench(chat.url, *SHORT, "--fail-if", "ttft_p90_ms>0", "--fail-if", "error_rate>0.5")
    assert done.exit_code == 1
    assert "ttft_p90_ms>0: ttft_p90_ms at c2 is" in done.output
    assert "error_rate>0.5:" not in done.output


def test_a_change_is_held_against_an_older_bench(chat, tmp_path):
    """Against itself an older bench shows every figure; a change beyond the limit fails."""
    old = tmp_path / "old.json"
    told = json.loads(bench(chat.url, *SHORT, "--json").stdout)
    for stage in told["stages"]:
        stage["requests_per_s"] = {"value": 1e9, "low": 1e9, "high": 1e9}
    old.write_text(json.dumps(told))
    done = bench(chat.url, *SHORT, "--compare", str(old), "--fail-if", "requests_per_s<-20%")
    assert done.exit_code == 1
    assert "worse" in done.output
    assert "requests_per_s<-20%: requests_per_s at c2" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("127.0.0.1:8000",), "Write http://127.0.0.1:8000"),
        (("ftp://x",), "is no address"),
        (("http://u:p@x",), "Put the key in an environment variable"),
        (("nothing.py",), "There is no Python file"),
        (("http://127.0.0.1:9",), "does not answer (connect"),
        (("http://x", "--lengths", "sharegp"), "Did you mean 'sharegpt'?"),
        (("http://x", "--fail-if", "tftt_p90_ms>3"), "Did you mean 'ttft_p90_ms'?"),
        (("http://x", "--fail-if", "ttft_p90_ms>+3%"), "--compare OLD.json"),
        (("http://x", "-c", "8,x"), "whole numbers with commas"),
        (("http://x", "-c", "0"), "must be 1 to 100000 clients, got 0"),
        (("http://x", "-d", "3", "-n", "3"), "exclude each other"),
        (("http://x", "--key-env", "NOT_SET"), "'NOT_SET' is not set"),
        (("http://x", "--header-env", "oops"), "must be HEADER=NAME"),
        (("http://x", "--gpu", "H1OO"), "Did you mean 'H100'?"),
        (("http://x", "--input", "{"), "is neither a file nor JSON"),
    ],
)
def test_mistakes_say_what_to_write(words, said):
    """Each mistake of a tired person ends with a sentence that helps, and without a traceback."""
    done = bench(*words)
    assert done.exit_code in {1, 2}
    assert said in " ".join(done.output.split())
    assert isinstance(done.exception, SystemExit)


def test_an_endpoint_that_refuses_is_explained(stand_in):
    """401 says which variables to set; the server's own words are in the message."""

    async def reply(_path, _body, writer):
        writer.write(whole("401 Unauthorized", b"no key"))

    url = stand_in(reply).url
    assert "Export MODALKIT_API_KEY" in bench(url, *SHORT).output
    assert "no key" in bench(f"{url}/v1/chat/completions", "--model", "x", *SHORT).output


def test_a_server_that_refuses_extras_is_asked_without(stand_in):
    """What a server does not understand is left out, and the report says so."""

    async def reply(path, body, writer):
        if path == "/v1/models":
            writer.write(MODELS)
        elif "ignore_eos" in json.loads(body):
            writer.write(whole("400 Bad Request", b'{"error": "ignore_eos"}'))
        else:
            writer.write(STREAM + token() + usage(5, 1) + END)

    done = bench(stand_in(reply).url, *SHORT)
    assert done.exit_code == 0, done.output
    assert "does not understand ignore_eos" in done.output


def test_a_cold_start_is_measured_apart(stand_in):
    """An endpoint that answers 503 for a while was cold, and no percentile knows of it."""

    async def reply(path, _body, writer):
        started.append(1)
        if len(started) < 8:
            writer.write(whole("503 Service Unavailable", b"starting"))
        elif path == "/v1/models":
            writer.write(MODELS)
        else:
            writer.write(STREAM + token() + usage(5, 1) + END)

    started: list[int] = []
    report = json.loads(bench(stand_in(reply).url, *SHORT, "--json").stdout)
    assert report["cold"]["was_cold"] is True
    assert report["cold"]["start_s"] >= 1.5
    assert report["container"]["cold_start_s"] == report["cold"]["start_s"]
    assert report["stages"][0]["errors"] == {}


def test_ctrl_c_keeps_what_was_measured(stand_in):
    """Interrupted, it reports the requests that were answered and exits with 130."""

    async def reply(path, _body, writer):
        if path == "/v1/models":
            writer.write(MODELS)
        else:
            await asyncio.sleep(0.01)
            writer.write(STREAM + token() + usage(5, 1) + END)

    server = stand_in(reply)
    code = "from modalkit.cli import main; main()"
    words = [
        sys.executable,
        "-c",
        code,
        "bench",
        server.url,
        "-c",
        "2",
        "-d",
        "3000",
        "--warm-up",
        "0",
        "--json",
    ]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )
    try:
        while len(server.moments) < 30:
            assert process.poll() is None, process.stderr.read()
            os.sched_yield()
            asyncio.run(asyncio.sleep(0.05))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    report = json.loads(said)
    assert process.returncode == 130
    assert report["interrupted"] is True
    assert report["stages"][0]["answered"] >= 10
    assert not report["stages"][0]["errors"]


@pytest.mark.parametrize("text", ["ttft_p90_ms", ">5", "ttft_p90_ms=5", "ttft_p90_ms>fast", ""])
def test_conditions_that_are_none_are_refused(text):
    """What is no condition is refused with examples of some that are."""
    with pytest.raises(DeclarationError, match="not understood"):
        Limit.parse(text)
