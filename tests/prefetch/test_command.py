"""``modalkit prefetch`` and ``modal run FILE::prefetch`` as a user types them, through the local Modal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PATIENCE_S = 300  # a deadline against hangs, never a measurement

APP = """
import modal
from modalkit import Echo, ModelService, WeightCache, serve

app = modal.App("shop")

@serve(app)
class Chat(ModelService):
    model = "org/model"
    engine = Echo()
    api = None
    weights = WeightCache("chat")
    env = {"HF_ENDPOINT": %(url)r}

@serve(app)
class Notes(ModelService):
    model = "acme/notes"
    api = None
    weights = WeightCache("notes", source="./notes-model", sub_path="/inside")

    def load(self) -> None:
        self.tokenizer = (self.model_path / "tokenizer.json").read_text()

    @modal.method()
    def read(self) -> str:
        try:
            open("/cache/new", "w")
        except OSError as error:
            return f"{self.tokenizer} {error.strerror}"

@app.local_entrypoint()
def main() -> None:
    print("chat:", Chat().generate.remote("Hello"))
    print("notes:", Notes().read.remote())
"""


@dataclass
class Shop:
    """A folder with an app, and a local Modal for it."""

    folder: Path

    @property
    def command(self) -> tuple[str, ...]:
        program = str(Path(sys.executable).parent / "modalkit")
        return (program, "local", "-q", "--state", str(self.folder / "state"))

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "COLUMNS": "600", "PATH": path}

    def __call__(self, *words: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done


@pytest.fixture
def shop(tmp_path: Path, hub) -> Iterator[Shop]:
    hub.add("org/model", {"config.json": {}, "model.safetensors": b"weights" * 1000, "x.png": b""})
    (tmp_path / "shop.py").write_text(APP % {"url": hub.url})
    (tmp_path / "notes-model").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / "notes-model" / name).write_text("{}")
    running = Shop(tmp_path)
    running("up", "--detach")
    yield running
    running("down")


def test_from_nothing_to_served(shop, hub):
    """Weights missing, prefetched for both services, served read-only; a second run does nothing."""
    refused = shop("modal", "run", "shop.py", fails=True)
    assert (
        "Serving never downloads. Run: modalkit prefetch shop.py" in refused.stdout + refused.stderr
    )
    assert not hub.requests

    filled = shop("modalkit", "prefetch", "shop.py").stdout
    assert "org/model: 7.0 kB in 2 file(s), complete and verified." in filled
    assert "acme/notes: 6 B in 3 file(s), complete and verified." in filled

    asked = len(hub.requests)
    again = [
        json.loads(line)
        for line in shop("modalkit", "prefetch", "shop.py", "--json").stdout.splitlines()
    ]
    assert [(event["model"], event["stage"], event["fetched_bytes"]) for event in again] == [
        ("org/model", "done", 0),
        ("acme/notes", "done", 0),
    ]
    run = shop("modal", "run", "shop.py::prefetch")
    assert run.stdout.count("nothing was fetched") == 2
    assert len(hub.requests) == asked

    served = shop("modal", "run", "shop.py").stdout
    assert "chat: Hello" in served
    assert "notes: {} Read-only file system" in served
    assert len(hub.requests) == asked


def test_modals_own_command_fills_both(shop):
    """``modal run FILE::prefetch`` prints how far it is, for every service of the app."""
    done = shop("modal", "run", "shop.py::prefetch").stdout
    assert "org/model: 7.0 kB in 2 file(s), complete and verified." in done
    assert "acme/notes: 6 B in 3 file(s), complete and verified." in done
    assert "chat: Hello" in shop("modal", "run", "shop.py").stdout


def test_a_terminal_shows_a_bar_with_rate_and_time_left(shop, hub):
    """While it arrives the bar says how fast and how long still; then one line stays."""
    hub.add("org/model", {"config.json": {}, "model.safetensors": os.urandom(6 << 20)})
    hub.rate = 2 << 20
    ours, its = pty.openpty()
    words = ("modalkit", "prefetch", "shop.py", "--service", "Chat")
    process = subprocess.Popen(
        [*shop.command, *words],
        cwd=shop.folder,
        env={**shop.environment, "TERM": "xterm-256color", "COLUMNS": "160"},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = "".join(pieces_of(ours))
    assert process.wait(PATIENCE_S) == 0, shown
    assert re.search(r"[\d.]+ [kM]B/s, \d+:\d\d left", shown), shown
    assert "━" in shown
    assert "org/model: 6.3 MB in 2 file(s), complete and verified." in shown


def pieces_of(terminal: int) -> Iterator[str]:
    """What a terminal is written until its last writer has gone."""
    with open(terminal, "rb", buffering=0) as pipe, suppress(OSError):  # EIO: nobody is left
        while piece := pipe.read(65536):
            yield piece.decode("utf-8", "replace")


def test_mistakes(shop, hub):
    """A gated model, a service that is not there and a file without weights say what to do."""
    hub.repositories["org/model"].gated = True
    gated = shop("modalkit", "prefetch", "shop.py", "--service", "Chat", fails=True)
    assert (
        "Error: 'org/model' is gated. Accept its terms on its page on the hub and set HF_TOKEN"
        in gated.stderr
    )
    assert "secrets = [Secret('huggingface', keys=['HF_TOKEN'])]" in gated.stderr
    assert "Traceback" not in gated.stderr
    missing = shop("modalkit", "prefetch", "shop.py", "--service", "Caht", fails=True)
    assert "has no service 'Caht'; it has Chat, Notes." in missing.stderr
    (shop.folder / "plain.py").write_text("import modal\napp = modal.App('plain')\n")
    plain = shop("modalkit", "prefetch", "plain.py")
    assert "plain.py has no weights to prefetch" in plain.stdout


def test_a_gated_model_arrives_with_the_secret_that_the_message_names(shop, hub):
    """What the message says to do is enough: a Secret with the token, named in the service."""
    vars(hub.repositories["org/model"]).update(gated=True, token="hf_of_the_shop")
    shop("modal", "secret", "create", "huggingface", "HF_TOKEN=hf_of_the_shop")
    text = (shop.folder / "shop.py").read_text()
    text = text.replace("WeightCache, serve", "Secret, WeightCache, serve", 1)
    secret = "secrets = [Secret('huggingface', keys=['HF_TOKEN'])]"
    other = secret.replace("HF_TOKEN", "HF_TOKE")
    (shop.folder / "shop.py").write_text(text.replace("api = None", f"api = None; {other}", 1))
    lacking = shop("modalkit", "prefetch", "shop.py", "--service", "Chat", fails=True)
    assert "Error: Modal refuses: Secret 'huggingface' has no HF_TOKE." in lacking.stderr
    assert "Traceback" not in lacking.stderr
    (shop.folder / "shop.py").write_text(text.replace("api = None", f"api = None; {secret}", 1))
    filled = shop("modalkit", "prefetch", "shop.py", "--service", "Chat")
    assert "org/model: 7.0 kB in 2 file(s), complete and verified." in filled.stdout
    assert "hf_of_the_shop" not in filled.stdout + filled.stderr
