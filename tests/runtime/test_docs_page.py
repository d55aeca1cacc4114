"""The documentation page of a custom service, in a real browser."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time

import pytest
import uvicorn
from pydantic import BaseModel, Field

from modalkit.declare.endpoints import Endpoint
from modalkit.declare.routes import endpoint
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.door import guarded

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")


class Ticket(BaseModel):
    text: str = Field(examples=["It is broken!"])
    urgent: bool = False


class Label(BaseModel):
    label: str
    score: float


class Sorter:
    """Sorts <support> tickets by what they are about."""

    def load(self) -> None: ...
    def warm_up(self) -> None: ...
    def unload(self) -> None: ...

    @endpoint("/sort")
    def sort(self, ticket: Ticket) -> Label:
        """Say what a ticket is about."""
        return Label(label=f"complaint about {len(ticket.text)} characters", score=0.9)

    @endpoint("/count")
    def count(self, words: list[str], times: int = 1) -> int:
        """Count words."""
        return len(words) * times


# What a person would do: the page presses its own first button once it has loaded.
PRESS = """<script>
  const press = () => {
    const button = document.querySelector("section button");
    button ? button.click() : setTimeout(press, 20);
  };
  press();
</script>"""


@pytest.fixture
def page():
    """The URL of the service's page, served on a real port."""
    rules = Endpoint(public=True)
    routes = {name: vars(Sorter)[name] for name in ("sort", "count")}
    app = guarded(CustomHost(Sorter(), routes).app(rules), rules)

    async def pressing(scope, receive, send):
        """The same app, whose page is followed by a press of its button."""

        async def following(message):
            if scope["path"] == "/docs" and message["type"] == "http.response.body":
                message = {**message, "body": message["body"] + PRESS.encode()}
            if scope["path"] == "/docs" and message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0] != b"content-length"]
                message = {**message, "headers": kept}
            await send(message)

        await app(scope, receive, following if scope["type"] == "http" else send)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(pressing, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}/docs"
    server.should_exit = True
    thread.join()


def browse(tmp_path, url, *arguments):
    """Open a page in headless Chromium with a profile of its own."""
    return subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000",
            *arguments,
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def test_the_page_sends_a_request_and_shows_the_answer(page, tmp_path):
    """Pressing Send posts the example body and shows status and answer on the page."""
    shown = browse(tmp_path, page, "--dump-dom")
    assert "complaint about 13 characters" in shown
    assert "200 in" in shown


def test_the_page_can_be_looked_at(page, tmp_path):
    """The page renders; the picture is kept beside the test's other files."""
    picture = tmp_path / "docs.png"
    browse(tmp_path, page, f"--screenshot={picture}", "--window-size=900,1200")
    assert picture.stat().st_size > 10_000


def test_text_of_the_service_is_not_markup(page, tmp_path):
    """A docstring with angle brackets is shown, not interpreted."""
    assert "Sorts &lt;support&gt; tickets" in browse(tmp_path, page, "--dump-dom")
