"""Which files can be planned: several apps, apps of parts, no function at all, and what asks Modal too early."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modalkit.declare.key_shapes import without_credentials

from .planning import plan

SERVICE = """
import modal
from modalkit import GPUProfile, ModelService, Scaling, VLLM, serve
{app} = modal.App("{app}-app")

@serve({app})
class Chat(ModelService):
    model = "Qwen/Qwen3-8B"
    engine = VLLM()
    gpu = GPUProfile("L40S")
    scaling = Scaling(max_containers=2)
"""
OTHER = """
other = modal.App("other")

@other.function()
def plain(): ...
"""


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """An empty folder; the module that a test may put there is forgotten afterwards."""
    yield tmp_path
    sys.modules.pop("part_of_it", None)


@pytest.mark.parametrize("imported", [False, True])
def test_what_an_app_includes_is_planned_as_its_part(folder, imported):
    """A service of an included app is one in full, once, be the app of this file or of another."""
    if imported:
        (folder / "part_of_it.py").write_text(SERVICE.format(app="parts"))
        text = "import modal, part_of_it\nparts = part_of_it.parts\n"
    else:
        text = SERVICE.format(app="parts")
    file = folder / "whole.py"
    file.write_text(text + 'app = modal.App("whole")\napp.include(parts)\n' + OTHER)
    shown = plan(file).output
    assert "app whole\n" in shown
    assert "app other\n" in shown
    assert "app parts-app\n" not in shown
    assert shown.count("Chat vLLM serving Qwen/Qwen3-8B\n") == 1
    assert "Price: $0 to $3.92 an hour; plain functions besides." in shown


def test_an_app_of_several_is_shown_alone(folder):
    """``FILE::NAME`` takes an app's name or variable, as Modal's own command takes the variable."""
    file = folder / "two.py"
    file.write_text(SERVICE.format(app="app") + OTHER)
    assert "app app-app\n" in plan(file).output
    for name in ("other", "app-app", "app"):
        shown = plan(f"{file}::{name}").output
        assert ("app other\n" in shown) == (name == "other")
        assert ("app app-app\n" in shown) == (name != "other")
    assert "has no 'nothing'; it has Chat, plain." in plan(f"{file}::nothing").output


def test_an_app_that_only_starts_sandboxes(folder):
    """Nothing of it is deployed: the plan says so, and quotes no container."""
    file = folder / "boxes.py"
    file.write_text(
        'import modal\napp = modal.App("boxes")\n@app.local_entrypoint()\ndef main():\n    modal.Sandbox.create(app=app)\n'
    )
    done = plan(file)
    assert done.exit_code == 0
    assert "entrypoints on this machine: main" in done.output
    assert done.output.splitlines()[-1].startswith("Price: $0: nothing is deployed.")
    assert "a container/h" not in done.output


def test_a_file_that_asks_modal_while_it_is_read(tmp_path):
    """The line is named with what to write instead, since nothing is asked without an account."""
    file = tmp_path / "early.py"
    file.write_text('import modal\napp = modal.App.lookup("boxes", create_if_missing=True)\n')
    done = subprocess.run(
        [sys.executable, "-c", "from modalkit.cli import main; main()", "plan", str(file)],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("MODAL_")},
            "MODAL_CONFIG_PATH": str(tmp_path / "none.toml"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "early.py line 2 fails: AuthError" in done.stderr
    assert "Write app = modal.App('NAME') there" in done.stderr


def test_a_budget_of_plain_functions_alone_cannot_be_held(folder):
    """How many containers of a plain function run is not known, so that no budget over them passes."""
    file = folder / "plain.py"
    file.write_text("import modal" + OTHER)
    done = plan(file, "--budget", "1000/hour")
    assert done.exit_code == 1
    assert "How many containers of plain run is not known, so $1000 an hour" in done.output


def test_addresses_lose_who_asks(folder):
    """A password in a command of the image, in a flag or in the address of traces is in no plan."""
    file = folder / "asks.py"
    text = SERVICE.format(app="app") + (
        '    image = modalkit.ImageSpec.engine().run("git clone https://me:hunter2@git.example.com/x")\n'
        '    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:hunter2@otel.example.com"}\n'
    )
    file.write_text(text.replace("import modal\n", "import modal\nimport modalkit\n"))
    printed = plan(file).output + plan(file, "--json").output
    assert "https://***@git.example.com/x" in printed
    assert "https://***@otel.example.com" in printed
    assert "hunter2" not in printed


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://me:hunt@er2@host/x", "https://***@host/x"),
        ("redis://:hunter2@cache:6379/0", "redis://***@cache:6379/0"),
        ("postgresql+psycopg://me:hunter2@db/x", "postgresql+psycopg://***@db/x"),
        ("HTTPS://hunter2@host", "HTTPS://***@host"),
        ("redis://:hunter2@a,b=https://me:hunter2@b/c", "redis://***@a,b=https://***@b/c"),
    ],
)
def test_who_asks_is_starred_in_an_address_of_any_scheme(written, shown):
    """All that stands before the last at sign of an address is gone, whatever is asked there."""
    assert without_credentials(f"run {written} now") == f"run {shown} now"


@pytest.mark.parametrize(
    "written", ["https://host/a@b", "git@host:org/x", "pip install x@https://host/y", "a@b ://c"]
)
def test_an_at_sign_elsewhere_stays(written):
    """A path with an at sign, and a name before a host without a scheme, are no password."""
    assert without_credentials(written) == written
