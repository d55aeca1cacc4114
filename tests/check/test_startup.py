"""What a start has time for: web servers that start an engine, and apps that a start method makes."""

from __future__ import annotations

import pytest

from .checking import codes

HEAD = "import subprocess\n\nimport modal\n\napp = modal.App('demo')\n\n\n"
ENGINE = "subprocess.Popen(['vllm', 'serve', 'acme/tiny-1B', '--api-key', 'x'])"


@pytest.mark.parametrize(
    ("decorator", "line", "found"),
    [
        ("modal.web_server(8000)", ENGINE, True),
        ("modal.web_server(8000, startup_timeout=600)", ENGINE, False),
        ("modal.web_server(8000)", "subprocess.Popen('streamlit run app.py', shell=True)", False),
        ("modal.web_server(8000, **OPTIONS)", ENGINE, False),
    ],
)
def test_an_engine_needs_longer_than_a_web_server_has(
    decorator: str, line: str, found: bool
) -> None:
    """Modal waits 5 s for a port unless told otherwise, in which no engine loads a model."""
    text = f"{HEAD}@app.function(gpu='L4')\n@{decorator}\ndef serve():\n    {line}\n"
    assert ("MK407" in codes(text)) is found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("    while not answers():\n        time.sleep(1)\n", False),
        (
            "    for _ in range(600):\n        socket.create_connection(('127.0.0.1', 8000))\n",
            False,
        ),
        ("    for _ in range(600):\n        requests.get('http://127.0.0.1:8000/health')\n", False),
        ("    wait_for_port(8000)\n", False),
        ("    pause()\n", False),
        ("    for line in process.stdout:\n        print(line)\n", False),
        ("    for name in os.environ:\n        print(name)\n", True),
        ("    time.sleep(1)\n", True),
    ],
)
def test_a_web_server_that_waits_itself_has_the_time(lines: str, found: bool) -> None:
    """Modal counts `startup_timeout` from the end of the function, so what it waits there is not counted."""
    helper = "def pause():\n    while not answers():\n        time.sleep(1)\n\n\n"
    text = (
        f"import os, requests, socket, time\nfrom shop import answers, wait_for_port\n{HEAD}{helper}"
        f"@app.function(gpu='L4')\n@modal.web_server(8000)\ndef serve():\n    process = {ENGINE}\n{lines}"
    )
    assert ("MK407" in codes(text)) is found


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ("from shop.api import create_app\n        self.api = create_app()", False),
        ("from fastapi import FastAPI\n        self.api = FastAPI()", True),
    ],
)
def test_an_app_that_a_start_method_makes_is_judged_where_it_is_written(
    made: str, found: bool
) -> None:
    """What another file makes may check its callers there, also where it waits in ``self``."""
    text = (
        f"{HEAD}@app.cls()\nclass Shop:\n    @modal.enter()\n    def start(self):\n        {made}\n\n"
        "    @modal.asgi_app()\n    def web(self):\n        return self.api\n"
    )
    assert ("MK602" in codes(text)) is found


@pytest.mark.parametrize(
    ("error", "found"),
    [("AttributeError", False), ("(ImportError, AttributeError)", False), ("Exception", True)],
)
def test_old_code_for_old_releases_is_left(error: str, found: bool) -> None:
    """What runs only where a release lacks the new name is no use of the old one."""
    text = (
        f"{HEAD}try:\n    work = modal.Function.from_name('a', 'b')\n"
        f"except {error}:\n    work = modal.Function.lookup('a', 'b')\n"
    )
    assert ("MK812" in codes(text)) is found
