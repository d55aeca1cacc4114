"""Schedules of apps fire, are fired by hand, are refused, and are never lost in silence."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
PATIENCE_S = 120
SOURCE = """
import time
import modal

app = modal.App("timed")

@app.function(schedule=modal.Period(seconds=2))
def often() -> None:
    print("often ran")

@app.function(schedule=modal.Period(seconds=3))
def fails() -> None:
    raise ValueError("on purpose")

@app.function(schedule=modal.Period(seconds=1))
def long() -> None:
    print("long began")
    time.sleep(600)

@app.function(schedule=modal.Cron("0 6 * * *", timezone="Europe/Berlin"))
def early() -> None:
    print("early ran")
"""

pytestmark = pytest.mark.slow


class Up:
    """A `modalkit local up` of the test's own state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.said = state.with_suffix(".err")
        self.process = subprocess.Popen(
            [*COMMAND, "--state", str(state), "up"],
            stdout=subprocess.PIPE,
            stderr=self.said.open("w"),
            text=True,
        )
        for line in self.process.stdout:
            if "MODALKIT_PROXY_SECRET" in line:
                break

    def local(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `modalkit local ...` beside it."""
        return subprocess.run(
            [*COMMAND, "--state", str(self.state), *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def log(self) -> str:
        return self.local("modal", "app", "logs", "timed", "--tail", "1000").stdout

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def up(tmp_path: Path):
    started: list[Up] = []

    def start() -> Up:
        started.append(Up(tmp_path / "state"))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end()


@pytest.fixture
def timed(tmp_path: Path) -> str:
    (tmp_path / "timed.py").write_text(SOURCE)
    return str(tmp_path / "timed.py")


def test_schedules_fire_do_not_overlap_and_report_failures(up, timed, wait_until):
    """A period fires again and again; a firing that fails is said; a long one is not doubled."""
    plane = up()
    assert plane.local("modal", "deploy", timed).returncode == 0
    wait_until(lambda: plane.log().count("often ran") >= 3, "the period fires three times")
    wait_until(lambda: "timed::fails failed at" in plane.said.read_text(), "the failure is said")
    log = plane.log()
    assert log.count("long began") == 1
    assert "the firing before it is still running" in log
    assert "ValueError" in log
    assert plane.local("modal", "app", "stop", "timed", "-y").returncode == 0
    assert json.loads(plane.local("status", "--json").stdout)["schedules"] == []


def test_a_schedule_is_shown_and_fired_by_hand(up, timed, wait_until):
    """`status` tells the next firing; `tick` fires one now, by any of its names."""
    plane = up()
    assert plane.local("modal", "deploy", timed).returncode == 0
    shown = json.loads(plane.local("status", "--json").stdout)["schedules"]
    early = next(one for one in shown if one["function"] == "early")
    assert early["schedule"] == "0 6 * * * (Europe/Berlin)"
    assert early["next_at"] > time.time()
    assert [one["next_at"] for one in shown] == sorted(one["next_at"] for one in shown)
    for name in ("early", "timed::early"):
        fired = plane.local("tick", name)
        assert fired.returncode == 0, fired.stderr
    wait_until(lambda: plane.log().count("early ran") == 2, "both firings ran")
    unclear = plane.local("tick", "timed")
    assert unclear.returncode == 1
    assert "More than one schedule is called 'timed'" in unclear.stderr
    unknown = plane.local("tick", "late")
    assert "No schedule is called 'late'" in unknown.stderr
    assert "timed::early" in unknown.stderr


def test_firings_that_were_due_while_nothing_ran_are_reported(up, timed, wait_until):
    """A restart tells what did not fire meanwhile, once, and goes on from now."""
    plane = up()
    assert plane.local("modal", "deploy", timed).returncode == 0
    plane.end()
    time.sleep(2.5)  # not a measurement: two firings of the shortest periods are due meanwhile
    again = up()
    wait_until(lambda: "timed::often did not fire" in again.said.read_text(), "it is reported")
    said = again.said.read_text()
    reported = re.findall(r"timed::often did not fire .*: no local Modal was running\.", said)
    assert len(reported) == 1
    assert "modalkit local tick timed::often" in said
    assert "early did not fire" not in said
    wait_until(lambda: "often ran" in again.log(), "it goes on")


def test_a_deployment_whose_command_ends_fires_nothing(tmp_path: Path, timed):
    """`modal deploy` leaves the firing to a local Modal that stays, and so do later commands."""
    state = ["--state", str(tmp_path / "state")]
    use = "import modal, time; modal.Function.from_name('timed', 'early').remote(); time.sleep(3)"
    for words in (("modal", "deploy", timed), ("python", "-c", use)):
        done = subprocess.run(
            [*COMMAND, *state, *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    log = ("modal", "app", "logs", "timed", "--tail", "1000")
    said = subprocess.run([*COMMAND, *state, *log], capture_output=True, text=True, check=False)
    assert "early ran" in said.stdout
    assert "often ran" not in said.stdout


RUNNING = """
if __name__ == "__main__":
    with modal.enable_output(), app.run():
        input()
"""


def test_the_schedules_of_a_running_app_fire(plane, tmp_path: Path):
    """`app.run()` has its schedules fire while it is open, without a deployment, and ends them."""
    program = tmp_path / "running.py"
    program.write_text(SOURCE + RUNNING)
    running = subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, **plane.exports},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen = 0
    for line in running.stdout:
        seen += "often ran" in line
        if seen == 2:
            break
    rest, _ = running.communicate("\n", timeout=PATIENCE_S)
    assert seen == 2
    assert running.returncode == 0, rest


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ("modal.Cron('0 25 * * *')", "hour field '25'"),
        ("modal.Cron('* * * * *', timezone='Mars')", "no time zone 'Mars'"),
        ("modal.Period()", "at least a second"),
    ],
)
def test_an_impossible_schedule_is_refused_when_it_is_deployed(
    plane, tmp_path: Path, schedule, reason
):
    """The deployment fails with the field and what to write, and leaves no app behind."""
    source = tmp_path / "wrong.py"
    source.write_text(
        "import modal\napp = modal.App('wrong')\n"
        f"@app.function(schedule={schedule})\ndef never(): ...\n"
    )
    done = plane.modal("deploy", str(source))
    assert done.returncode == 1
    assert reason in done.stdout + done.stderr
    assert "wrong" not in [
        one["description"]
        for one in json.loads(plane.modal("app", "list", "--json").stdout)
        if one["state"] == "deployed"
    ]


def test_a_scheduled_function_takes_no_arguments(plane, tmp_path: Path):
    """Modal's own client refuses a schedule on a function with required parameters."""
    source = tmp_path / "needs.py"
    source.write_text(
        "import modal\napp = modal.App('needs')\n"
        "@app.function(schedule=modal.Period(hours=1))\ndef f(x): ...\n"
    )
    done = plane.modal("deploy", str(source))
    assert done.returncode == 1
    assert "no arguments" in done.stdout + done.stderr


def test_the_planes_own_routes_want_its_token(up):
    """Without the page's token nothing is told or fired."""
    plane = up()
    card = json.loads((plane.state / "plane.json").read_text())
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert httpx.get(f"{card['page']}/admin/status", headers=headers).status_code == 401
    right = {"Authorization": f"Bearer {card['page_token']}"}
    assert httpx.get(f"{card['page']}/admin/status", headers=right).json()["apps"] == []
    assert httpx.post(f"{card['page']}/admin/tick", headers=right, content="x").status_code == 400
    assert httpx.get(f"{card['page']}/admin/other", headers=right).status_code == 404
