"""Who may call an endpoint is judged for each endpoint, by its own code."""

from __future__ import annotations

import pytest

from .checking import codes, findings

HEAD = """import os, subprocess
import modal
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Security
from fastapi.security import HTTPBearer
import openai

app = modal.App("demo")
"""


def _door(body: str = "    return 1\n", *, signature: str = "x: str", above: str = "", beside: str = "") -> str:  # fmt: skip
    return f"{HEAD}{beside}\n\n{above}@app.function()\n@modal.fastapi_endpoint()\ndef door({signature}):\n{body}"


@pytest.mark.parametrize(
    "text",
    [
        _door(),
        _door('    client = openai.OpenAI(api_key="EMPTY")\n    return client\n'),
        _door(
            '    headers = {"Authorization": "Bearer " + os.environ["VENDOR_KEY"]}\n    return 1\n'
        ),
        _door("    # not public yet\n    return 1\n"),
        _door("    return 'public'\n"),
        _door(beside='API_KEY = os.environ["OPENAI_API_KEY"]\n# the public part of the shop\n'),
        _door(above="# TODO: should not be public\n"),
        _door(beside="def verify_token(token): ...\n"),
    ],
)
def test_a_word_in_the_file_does_not_close_an_endpoint(text: str) -> None:
    """Keys that a client sends, words in texts and checks that nobody calls say nothing of who may call."""
    assert "MK602" in codes(text)


@pytest.mark.parametrize(
    "text",
    [
        _door(above="# Public on purpose: a health page.\n"),
        _door().replace("endpoint()", "endpoint()  # public"),
        _door().replace("endpoint()", "endpoint(requires_proxy_auth=False)"),
        _door().replace("endpoint()", "endpoint(requires_proxy_auth=True)"),
        _door(signature="x: str, token=Depends(HTTPBearer())"),
        _door(signature="x: str, x_api_key: str = Header()"),
        _door(signature="x: str, user=Depends(who)", beside="def who(request: Request):\n    raise HTTPException(status_code=401)\n"),
        _door("    verify_token(x)\n    return 1\n"),
        _door('    if x != os.environ["DOOR_TOKEN"]:\n        raise ValueError\n    return 1\n'),
        _door("    if x != TOKEN:\n        raise ValueError\n    return 1\n", beside='TOKEN = os.environ["DOOR_TOKEN"]\n'),
        _door('    if request.headers.get("x-api-key") is None:\n        return None\n    return 1\n', signature="request: Request"),
        _door("    return {'detail': 'no'}, 403\n"),
    ],
)  # fmt: skip
def test_an_endpoint_that_checks_or_says_so_is_left(text: str) -> None:
    """A check in its own code or in what it refers to, or an explicit word at its decorator, is enough."""
    assert "MK602" not in codes(text)


def test_one_endpoint_that_checks_does_not_close_another() -> None:
    """Two endpoints of a file are judged apart."""
    other = "\n\n@app.function()\n@modal.fastapi_endpoint()\ndef shut(x: str):\n    raise HTTPException(401)\n"
    (found,) = [one for one in findings(_door() + other) if one.code == "MK602"]
    assert found.message == "door is public."


WEB = """
api = FastAPI()
api.state.started = False


@api.get("/")
async def page(request: Request):
    {check}
    return 1


@app.function(gpu="A10")
@modal.asgi_app()
def web():
    return api
"""


@pytest.mark.parametrize(
    ("check", "found"),
    [("pass", True), ("require_user(request)", False), ("raise HTTPException(403)", False)],
)
def test_the_handlers_of_an_app_belong_to_its_endpoint(check: str, found: bool) -> None:
    """What is registered on the app that an endpoint returns is its code."""
    assert ("MK601" in codes(HEAD + WEB.format(check=check))) is found


def test_an_app_with_middleware_for_it_is_closed() -> None:
    """A middleware that is named for it, and dependencies of the whole app, check every request."""
    text = HEAD + WEB.format(check="pass")
    assert "MK601" not in codes(
        text.replace("api.state.started = False", "api.add_middleware(AuthMiddleware)")
    )
    dependencies = "FastAPI(dependencies=[Depends(verify_key)])"
    assert "MK601" not in codes(text.replace("FastAPI()", dependencies))


def test_an_app_from_another_file_is_not_judged() -> None:
    """Whoever makes the app elsewhere may check there."""
    text = f"{HEAD}from shop.web import api\n\n\n@app.function()\n@modal.asgi_app()\ndef web():\n    return api\n"
    assert "MK602" not in codes(text)
    assert "MK602" in codes(text.replace("from shop.web import api", "api = FastAPI()"))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("vllm serve acme/m --api-key EMPTY", True),
        ("vllm serve acme/m --api-key $KEY", False),
        ("vllm serve acme/m --hf-token $KEY", True),
        ("vllm serve acme/m --max-num-batched-tokens 8192", True),
        ("jupyter lab --NotebookApp.token=$TOKEN", False),
        ("jupyter lab --NotebookApp.token=''", True),
        ("code-server --auth none", True),
        ("code-server --auth password", False),
    ],
)
def test_a_server_that_wants_a_key_is_closed(words: str, found: bool) -> None:
    """``--api-key`` and its like close a server, unless what it wants is no key."""
    text = (
        f"{HEAD}\n\n@app.function(gpu='L4')\n@modal.web_server(8000)\ndef serve():\n"
        f'    subprocess.Popen("{words}", shell=True)\n'
    )
    assert ("MK601" in codes(text)) is found


@pytest.mark.parametrize("key", ["os.environ['KEY']", "KEY", "f'{KEY}'"])
def test_a_key_that_is_not_written_out_is_one(key: str) -> None:
    """What stands behind the flag may come from anywhere."""
    text = (
        f"{HEAD}\n\n@app.function(gpu='L4')\n@modal.web_server(8000)\ndef serve():\n"
        f"    subprocess.Popen(['vllm', 'serve', 'acme/m', '--api-key', {key}])\n"
    )
    assert "MK601" not in codes(text)


CORS = "from fastapi.middleware.cors import CORSMiddleware\napi = FastAPI()\n{more}\napi.add_middleware(CORSMiddleware, {options})\n"


@pytest.mark.parametrize(
    ("more", "options", "found"),
    [
        ("", 'allow_origins=["*"], allow_credentials=True', True),
        ("", 'allow_origins=("*",), allow_credentials=True', True),
        ('ANY = ["*"]', "allow_origins=ANY, allow_credentials=True", True),
        ("", 'allow_origin_regex=".*", allow_credentials=True', True),
        ("", 'allow_origin_regex=r"https?://.*", allow_credentials=True', True),
        ("", 'allow_origin_regex=r"https://.*\\.my\\.site", allow_credentials=True', False),
        ("", 'allow_origins=["https://my.site"], allow_credentials=True', False),
        ("", 'allow_origins=["*"]', False),
        ("", 'allow_origins=["*"], allow_credentials=False', False),
    ],
)
def test_any_origin_with_credentials_is_found_however_it_is_written(more: str, options: str, found: bool) -> None:  # fmt: skip
    """A list, a tuple, a constant and a regular expression may all mean any origin."""
    assert ("MK604" in codes(HEAD + CORS.format(more=more, options=options))) is found


SERVER = "\n\n@app.function(gpu='L4')\n@modal.web_server(8000, requires_proxy_auth={auth})\ndef serve():\n    {line}\n"


@pytest.mark.parametrize(
    "above",
    [
        'os.environ["VLLM_SERVER_DEV_MODE"] = "1"',
        'os.environ.setdefault("VLLM_SERVER_DEV_MODE", "1")',
        'image = modal.Image.debian_slim().env({"VLLM_SERVER_DEV_MODE": "1"})',
        'ENV = dict(VLLM_SERVER_DEV_MODE="1")',
        'COMMAND = "VLLM_SERVER_DEV_MODE=1 vllm serve acme/m"',
    ],
)
def test_development_mode_is_found_however_it_is_set(above: str) -> None:
    """The variable that opens vLLM's routes counts wherever it is written, behind a public URL alone."""
    line = "subprocess.Popen(['vllm', 'serve', 'acme/m'])"
    assert "MK603" in codes(HEAD + above + SERVER.format(auth=False, line=line))
    assert "MK603" not in codes(HEAD + above + SERVER.format(auth=True, line=line))
    assert "MK603" not in codes(
        HEAD + above.replace("1", "0") + SERVER.format(auth=False, line=line)
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["python", "-m", "sglang.launch_server", "--model-path", "acme/m"], True),
        (["sglang", "serve", "--model-path", "acme/m", "--port", "8000"], True),
        (["sglang", "serve", "--model-path", "acme/m", "--admin-api-key", "k"], False),
        (["sglang", "serve", "--model-path", "acme/m", "--api-key=k"], False),
        (["sglang", "bench", "--model-path", "acme/m"], False),
    ],
)
def test_sglang_without_a_key_is_found_behind_a_public_url(words: list[str], found: bool) -> None:
    """Its routes that change the server want a key only if it has one."""
    line = f"subprocess.Popen({words})"
    assert ("MK612" in codes(HEAD + SERVER.format(auth=False, line=line))) is found
    assert "MK612" not in codes(HEAD + SERVER.format(auth=True, line=line))
    for unclear in (f"{words} + more", f"[*{words}, '--enable-metrics', *more]"):
        line = f"subprocess.Popen({unclear})"
        assert ("MK612" in codes(HEAD + SERVER.format(auth=False, line=line))) is False


def test_what_another_unit_runs_is_not_the_endpoints() -> None:
    """A check in a class that an endpoint calls is made after the request came in."""
    other = "\n\n@app.cls()\nclass Shop:\n    @modal.method()\n    def buy(self, x):\n        verify_token(x)\n"
    assert "MK602" in codes(_door("    return Shop().buy.remote(x)\n") + other)


def test_functions_that_all_call_each_other_end() -> None:
    """A file of generated helpers and endpoints is judged like any other."""
    helpers = "".join(f"def h{n}():\n    h{n * 7 % 900}(), h{n + 1}()\n" for n in range(900))
    doors = "".join(
        f"@app.function()\n@modal.fastapi_endpoint()\nasync def e{n}(x: str):\n    h{n}()\n"
        for n in range(200)
    )
    assert "MK990" not in codes(HEAD + helpers + doors)
