"""The pytest fixture ``local_modal``, in pytest runs of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
PATIENCE_S = 300
PLUGIN = "modalkit.testing.plugin"

SHOP = """
import modal

app = modal.App("shop")
told = modal.Dict.from_name("told", create_if_missing=True)

@app.function()
def double(number: int) -> int:
    return 2 * number

@app.function()
@modal.fastapi_endpoint()
def hello(name: str) -> str:
    return f"hello {name}"

@app.cls()
class Till:
    @modal.method()
    def total(self, prices: list[int]) -> int:
        return sum(prices)

@app.server(port=8000, unauthenticated=True)
class Window:
    @modal.enter()
    def open(self) -> None: ...
"""

TESTS = """
import os, urllib.request
import modal, pytest
from shop import app, double

def test_run(local_modal):
    with local_modal.run(app):
        assert double.remote(4) == 8
        assert list(double.map([1, 2])) == [2, 4]

def test_deploy_and_look_up(local_modal):
    local_modal.deploy(app)
    assert local_modal.function("shop", "double").remote(2) == 4
    assert modal.Function.from_name("shop", "double").remote(3) == 6
    assert local_modal.cls("shop", "Till")().total.remote([1, 2]) == 3
    with urllib.request.urlopen(local_modal.url("shop", "hello") + "/?name=you") as answer:
        assert answer.read() == b'"hello you"'
    front = modal.Server.from_name("shop", "Window").get_url()
    assert local_modal.url("shop", "Window") == front

def test_the_next_test_has_fresh_apps(local_modal):
    with pytest.raises(modal.exception.NotFoundError):
        modal.Function.from_name("shop", "double").remote(3)

def test_command(local_modal):
    done = local_modal.command("modal", "run", "shop.py::double", "--number", "5")
    assert "Created Function double" in done.stderr + done.stdout

def test_environment_variables_are_set(local_modal):
    assert os.environ["MODAL_SERVER_URL"].startswith("http://127.0.0.1:")
    assert "MODAL_PROFILE" not in os.environ
    os.environ["SET_BY_A_TEST"] = "1"

def test_and_restored_afterwards():
    assert os.environ["MODAL_PROFILE"] == "the-users"
    assert os.environ["MODAL_TOKEN_ID"] == "ak-the-users"
    assert os.environ["SET_BY_A_TEST"] == "1"
    assert "MODALKIT_PROXY_KEY" not in os.environ
"""


@pytest.fixture
def project(tmp_path: Path):
    """A user's project, and a way to run its tests."""
    (tmp_path / "shop.py").write_text(SHOP)

    def run(tests: str, *arguments: str, before: tuple[str, ...] = (), **variables: str):
        (tmp_path / "test_shop.py").write_text(tests)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MODAL")}
        pytest_run = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider"]
        return subprocess.run(
            [*before, *pytest_run, "-q", *arguments],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run


def test_the_fixture_serves_a_test_suite(project):
    """Apps run and deploy, endpoints answer, each test has fresh apps, the environment comes back."""
    done = project(TESTS, MODAL_PROFILE="the-users", MODAL_TOKEN_ID="ak-the-users")
    assert "6 passed" in done.stdout, done.stdout + done.stderr


def test_it_joins_the_local_modal_around_it(project, tmp_path: Path):
    """Inside `modalkit local pytest` the fixture starts no second one."""
    tests = """
import os
AROUND = os.environ["MODAL_SERVER_URL"]

def test_same(local_modal):
    assert local_modal.environment["MODAL_SERVER_URL"] == AROUND
"""
    state = str(tmp_path / "state")
    done = project(tests, before=(*COMMAND, "--state", state))
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_without_namespaces(project, tmp_path: Path):
    """The ini option `local_modal_namespaces` makes containers plain processes."""
    tests = """
import os
import modal
app = modal.App("plain")

@app.function()
def mounts() -> str:
    return os.readlink("/proc/self/ns/mnt")

def test_same_namespace(local_modal):
    with local_modal.run(app):
        assert mounts.remote() == os.readlink("/proc/self/ns/mnt")
"""
    if not Path("/proc/self/ns/mnt").exists():
        pytest.skip("reads /proc")
    (tmp_path / "pytest.ini").write_text("[pytest]\nlocal_modal_namespaces = false\n")
    done = project(tests)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_project_without_it_pays_nothing(project):
    """Loading the plugin imports neither modal nor a server, and starts no process."""
    tests = """
import sys

def test_nothing_heavy():
    heavy = {"modal", "grpclib", "aiohttp", "modal_proto", "modalkit.local", "pydantic"}
    assert not heavy & set(sys.modules)
"""
    done = project(tests)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_several_workers(project):
    """Under pytest-xdist each worker has a local Modal of its own."""
    if importlib.util.find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")
    done = project(TESTS.split("def test_the_next", maxsplit=1)[0], "-n", "2")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_a_failed_command_shows_what_it_printed(project):
    """`local_modal.command` raises with the command's own output."""
    tests = """
import pytest
from modalkit.errors import LocalModalError

def test_fails(local_modal):
    with pytest.raises(LocalModalError, match="no such thing happened"):
        local_modal.command("python", "-c", "raise SystemExit('no such thing happened')")
    with pytest.raises(LocalModalError, match="not a web endpoint"):
        from shop import app
        local_modal.url(local_modal.deploy(app), "double")
"""
    done = project(tests)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_pytest_finds_it_by_itself():
    """The package declares the plugin to pytest."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared["pytest11"] == {PLUGIN: PLUGIN}
