"""``modalkit cold-start``: containers started for real, logs read, budgets held."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from modalkit.cli.cold_start_text import bars, show
from modalkit.declare.cold_start import ColdStartRecord

RECORD = ColdStartRecord(
    service="Chat",
    phases={"container": 1.0, "imports": 0.5, "engine": 6.0, "warm_up": 0.5},
    total_s=8.0,
    budget_s=4.0,
)

APP = """
import modal
from modalkit import ColdStart, Echo, Endpoint, ModelService, endpoint, serve
from modalkit.declare.credentials import ProxyAuth

app = modal.App("cold-start-test")

@serve(app)
class Chat(ModelService):
    engine = Echo()
    api = Endpoint(public=True)
    cold_start = ColdStart(snapshot="cpu", budget_s=3600)

@serve(app)
class Typed(ModelService):
    api = Endpoint(kind="server", auth=ProxyAuth())
    cold_start = ColdStart(snapshot="cpu")

    def load(self) -> None:
        self.steps = ["load"]

    def wake(self) -> None:
        self.steps.append("wake")

    def warm_up(self) -> None:
        assert self.steps == ["load", "wake"]

    @endpoint("/n")
    def n(self, n: int) -> int:
        return n

@serve(app)
class Quiet(ModelService):
    api = None

    @modal.method()
    def go(self) -> int:
        return 1

@serve(app)
class Broken(ModelService):
    model = "/nowhere/model"
    engine = Echo(env={"PYTHONHOME": "/nowhere"})
    api = Endpoint(public=True)

@serve(app)
class Closed(ModelService):
    engine = Echo(env={"PYTHONHOME": "/nowhere"})
"""


def cold_start(*words: str, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    state = {"MODALKIT_LOCAL_STATE": str(cwd / "state"), "COLUMNS": "80", "TERM": "dumb"}
    code = "from modalkit.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "cold-start", *words],
        cwd=cwd,
        env={**os.environ, **state},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.mark.slow
def test_services_are_started_for_real_and_their_phases_told(folder):
    """An engine behind HTTP, twice, each time in another container, as JSON."""
    done = cold_start("app.py::Chat", "--runs", "2", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["starts"]
    assert first["container"] != second["container"]
    for start in (first, second):
        assert start["within_budget"]
        wanted = ["container", "imports", "engine", "warm_up", "snapshot", "wake"]
        assert [phase for phase in wanted if phase in start["phases"]] == list(start["phases"])
        assert {"imports", "engine", "warm_up"} <= set(start["phases"])


@pytest.mark.slow
@pytest.mark.parametrize("service", ["Typed", "Quiet"])
def test_services_that_nobody_may_ask_are_started_too(folder, service):
    """A server that asks for Modal's own token, and a service without HTTP."""
    done = cold_start(f"app.py::{service}", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{service}  ready in ")


@pytest.mark.slow
@pytest.mark.parametrize("service", ["Broken", "Closed"])
def test_a_service_that_does_not_start_says_why(folder, service):
    """The engine's own last words reach the terminal; the command fails."""
    done = cold_start(f"app.py::{service}", "--within", "120", cwd=folder)
    assert done.returncode == 1
    assert f"{service} did not start." in done.stderr
    assert "Echo ended with exit code 1" in done.stderr


def test_a_log_is_read_whatever_else_is_in_it(folder):
    """Starts in a log from anywhere; above the budget the command fails."""
    log = f"hello\n2026-11-21 ta-1 {RECORD.line()}\n{{}}\n"
    done = cold_start("--log", "-", cwd=folder, input=log)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "Chat  ready in 8.00 s, budget 4 s"
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["container", "1.00"],
        ["imports", "0.50"],
        ["engine", "6.00"],
        ["warm", "up"],
        ["ready", "8.00"],
    ]


@pytest.mark.parametrize(
    ("words", "message", "status"),
    [
        ((), "Name the file that declares the services", 2),
        (("app.py", "--log", "-"), "or --log", 2),
        (("app.py::Chats",), "no service 'Chats'; it has Chat, Typed, Quiet, Broken, Closed", 1),
        (("missing.py",), "no Python file 'missing.py'", 1),
        (("--log", "-"), "There is no cold start in these logs", 1),
        (("app.py", "--runs", "0"), "0 is not in the range", 2),
    ],
)
def test_slips_are_answered_with_what_to_write(folder, words, message, status):
    """Each is an error on stderr, and nothing is started."""
    done = cold_start(*words, cwd=folder, input="nothing here\n")
    assert done.returncode == status
    assert message in " ".join(done.stderr.split())
    assert not done.stdout


@pytest.mark.slow
def test_a_deployed_app_is_read_from_its_logs(local_modal, folder):
    """What the containers of a deployed app have logged is drawn without starting any."""
    local_modal.command("modal", "deploy", str(folder / "app.py"))
    local_modal.cls("cold-start-test", "Chat")().generate.remote("hello")
    words = (sys.executable, "-c", "from modalkit.cli import main; main()", "cold-start")
    done = local_modal.command(*words, str(folder / "app.py"), "--deployed", "--json")
    (start,) = json.loads(done.stdout)["starts"]
    assert start["service"] == "Chat"
    local_modal.command("modal", "app", "stop", "cold-start-test", "--yes")


@pytest.mark.parametrize("width", [30, 80, 200])
def test_bars_lie_end_to_end_and_the_budget_is_a_line(width):
    """Each phase begins where the last one ended, and what lies past the budget is red."""
    rows = list(bars(RECORD, width))
    plain = [row.plain for row in rows]
    spans = [(line.index("█"), line.rindex("█")) for line in plain[:-1]]
    for (_, end), (begin, _) in pairwise(spans):
        assert abs(begin - end) <= 1
    mark = plain[0].index("│")
    assert plain[-1].index("│") == mark
    assert spans[2][0] < mark < spans[2][1]
    styles = {str(span.style) for span in rows[2].spans}
    assert {"cyan", "red"} <= styles


def test_many_starts_are_shown_by_their_median(capsys):
    """Starts out of a snapshot are a group of their own."""
    starts = [RECORD.model_copy(update={"total_s": float(n)}) for n in (3, 9, 5)]
    restored = RECORD.model_copy(update={"restored": True, "total_s": 2.0})
    show([*starts, restored], Console(width=80))
    said = capsys.readouterr().out
    assert "Chat  ready in 5.00 s, budget 4 s  (median of 3 starts, 3.00 to 9.00 s; 2 over" in said
    assert "Chat  ready in 2.00 s, budget 4 s, restored from a snapshot" in said
