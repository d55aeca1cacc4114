"""`modalkit check` as a user types it: exit codes, settings, explanations, mistakes in the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from modalkit.cli.check import command

ROOT = Path(__file__).parent.parent.parent
WRONG = 'import modal\n\napp = modal.App("x")\n\n\n@app.function(gpu="H1OO")\ndef f(): ...\n'
NOTE = 'import modal\n\nimage = modal.Image.debian_slim().pip_install("requests")\n'
UNPINNED = NOTE.replace("requests", "torch")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Type a command in a folder of its own; returns the exit code and what was printed."""
    monkeypatch.chdir(tmp_path)

    def typed(*argv: str) -> tuple[int, str]:
        done = CliRunner().invoke(command, [*argv])
        return done.exit_code, done.output

    return typed


@pytest.mark.parametrize(
    ("text", "argv", "code"),
    [
        (WRONG, [], 1),
        (UNPINNED, [], 1),
        (UNPINNED, ["--fail-on", "error"], 0),
        (NOTE, [], 0),
        (NOTE, ["--fail-on", "note"], 1),
        (WRONG, ["--ignore", "MK101"], 0),
        (WRONG, ["--select", "MK2,MK3"], 0),
        (WRONG, ["--exclude", "a.py"], 0),
    ],
)
def test_the_exit_code_says_whether_to_go_on(run, text, argv, code):
    """The exit code is 1 at and above the mildest severity that fails, else 0."""
    Path("a.py").write_text(text)
    assert run(".", *argv)[0] == code


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere.py"], "There is no file or folder 'nowhere.py'"),
        (["--select", "MK0"], "'MK0' is no rule's code"),
        (["--explain", "unknown-gpuu"], "Did you mean 'unknown-gpu'?"),
        (["--budget", "cheap"], "Write 500/month or 3/hour"),
        (["--format", "xml"], "'xml' is not one of"),
        (["--json", "--format", "github"], "leave out one of --json and --format github"),
        (["--diff", "--format", "sarif"], "--diff and --explain know text and json"),
        (["--explain", "MK101", "--format", "github"], "--diff and --explain know text and json"),
        (["--diff", "--fix"], "give one of them"),
    ],
)
def test_a_wrong_command_says_what_to_type(run, argv, said):
    """A mistake in the command itself ends with 2 and a sentence."""
    code, printed = run(*argv)
    assert code == 2
    assert said in printed


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('selct = ["MK1"]', "has no 'selct'. Did you mean 'select'?"),
        ('select = "MK1"', "select must be a list of strings"),
        ('ignore = ["MK0"]', "'MK0' is no rule's code"),
        ('fail-on = "bad"', "fail-on must be one of error, warning, note, got 'bad'"),
        ("static = 1", "static must be true or false, got 1"),
        ('budget = "cheap"', "Write 500/month or 3/hour"),
        ("select = [", "cannot be read"),
    ],
)
def test_wrong_settings_are_named(run, table, said):
    """What is wrong in pyproject.toml is said with the key and what it may be."""
    Path("pyproject.toml").write_text(f"[tool.modalkit.check]\n{table}\n")
    code, printed = run(".")
    assert code == 2
    assert said in printed


def test_settings_hold_and_the_command_line_adds(run):
    """Settings of the nearest pyproject.toml hold; the command line selects anew and ignores more."""
    Path("a.py").write_text(WRONG + UNPINNED.partition("\n")[2])
    Path("pyproject.toml").write_text(
        '[tool.modalkit.check]\nignore = ["MK101"]\nexclude = ["old"]\n'
    )
    Path("old").mkdir()
    Path("old/b.py").write_text(WRONG)
    assert "1 warning in 1 file." in run(".")[1]
    assert "No problems" in run(".", "--ignore", "unpinned-engine")[1]


def test_a_file_without_settings_has_the_usual_ones(run):
    """A pyproject.toml of something else changes nothing."""
    Path("pyproject.toml").write_text("[tool.other]\nx = 1\n")
    Path("a.py").write_text(WRONG)
    assert run(".")[0] == 1


def test_json_is_json(run):
    """--json prints one document and nothing else, with or without findings."""
    Path("a.py").write_text(WRONG)
    assert json.loads(run("a.py", "--json")[1])["counts"]["error"] == 1
    assert json.loads(run("a.py", "--format", "json", "--select", "MK2")[1])["findings"] == []


def test_rules_are_explained(run):
    """A rule is explained by its code in any case, or its name, and all of them are listed."""
    for asked in ("MK101", "mk101", "unknown-gpu"):
        assert "MK101 unknown-gpu (error, GPUs and fit)" in run("--explain", asked)[1]
    assert "MK701" in run("--explain", "all")[1]


def test_the_hook_and_the_workflow_are_what_their_tools_read():
    """The pre-commit hook names a command that is there, and the workflow is YAML with sound shell."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"].split()[:2] == ["modalkit", "check"]
    workflow = yaml.safe_load((ROOT / "examples/github/modalkit.yml").read_text())
    steps = workflow["jobs"]["check"]["steps"]
    assert any("modalkit check" in step.get("run", "") for step in steps)
    assert workflow["permissions"]["pull-requests"] == "write"


OLD = 'import modal\n\nstub = modal.Stub("x")\n\n\n@stub.function(keep_warm=1)\ndef f(): ...\n'


def test_a_diff_is_data_too(run):
    """--diff --json says what --fix would change and for which findings, and writes nothing."""
    Path("a.py").write_text(OLD)
    code, printed = run("a.py", "--diff", "--json")
    document = json.loads(printed)
    (file,) = document["files"]
    assert code == 1
    assert file["path"] == "a.py"
    assert '+app = modal.App("x")' in file["diff"]
    assert [one["code"] for one in file["fixed"]] == ["MK801", "MK802"]
    assert Path("a.py").read_text() == OLD
    Path("a.py").write_text("import modal\n")
    code, printed = run("a.py", "--diff", "--format", "json")
    assert (code, json.loads(printed)["files"]) == (0, [])


def test_a_rule_is_data_too(run):
    """--explain --json has a rule's words and both of its examples."""
    (rule,) = json.loads(run("--explain", "MK101", "--json")[1])["rules"]
    assert rule["name"] == "unknown-gpu"
    assert rule["failing"]
    assert rule["passing"]
    assert len(json.loads(run("--explain", "all", "--format", "json")[1])["rules"]) > 80


def test_a_fix_leaves_one_report_on_standard_output(tmp_path, monkeypatch):
    """--fix --format json prints the report alone; what was rewritten goes to standard error."""
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text(OLD)
    done = CliRunner().invoke(command, ["a.py", "--fix", "--json", "--select", "MK8"])
    assert json.loads(done.stdout)["findings"] == []
    assert "MK801 renamed-name" in done.stderr
