"""What machines read: JSON, SARIF and GitHub's annotations."""

from __future__ import annotations

import json

import pytest

from modalkit.check import check_paths
from modalkit.check.formats import as_github, as_json, as_sarif
from modalkit.check.text import finding_text, summary_text

WRONG = 'import modal\n\napp = modal.App("é")\nx = "é"; y = app.function(gpu="H1OO")\n\n\n@app.function(gpu="A10:9")\ndef f(): ...\n'


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Two findings in a file of a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b.py").write_text(WRONG, "utf-8")
    return check_paths(["a,b.py"])


def test_json_says_everything(report):
    """The JSON document has every field of every finding, and counts."""
    document = json.loads(as_json(report))
    assert document["schema_version"] == 1
    assert document["counts"] == {"error": 2, "warning": 0, "note": 0}
    first = document["findings"][0]
    assert first["code"] == "MK101"
    assert first["span"] == {"line": 4, "column": 31, "end_line": 4, "end_column": 37}
    assert set(first) >= {"message", "why", "instead", "severity", "path", "source_line", "fix"}


def test_sarif_has_what_code_hosts_need(report):
    """The SARIF log names its rules and gives each result a rule, a level and a region."""
    log = json.loads(as_sarif(report))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {"MK101", "MK102"}
    assert [result["level"] for result in run["results"]] == ["error", "error"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "a,b.py"}
    assert place["region"]["startColumn"] == 31


def test_sarif_names_no_relative_address(report):
    """Every rule has its help inline: its address would have to be absolute, and there is none."""
    driver = json.loads(as_sarif(report))["runs"][0]["tool"]["driver"]
    assert not any(key.endswith("Uri") for one in (driver, *driver["rules"]) for key in one)
    assert all(rule["help"]["text"] and rule["fullDescription"]["text"] for rule in driver["rules"])


def test_github_annotations_are_one_line_each(report):
    """Workflow commands escape what would end them: commas, colons, line breaks."""
    first, second = as_github(report).split("\n")
    assert first.startswith(
        "::error file=a%2Cb.py,line=4,col=31,endLine=4,endColumn=37,title=MK101"
    )
    assert "%0A" in second


def test_text_has_a_caret_under_the_value(report):
    """The caret stands under the span, counted in characters, not bytes."""
    lines = finding_text(report.findings[0]).split("\n")
    assert lines[1].endswith('gpu="H1OO")')
    assert lines[2].index("^") == lines[1].index('"H1OO"')
    assert lines[2].count("^") == len('"H1OO"')
    assert summary_text(report) == "2 errors in 1 file."


def test_long_lines_are_cut_around_the_caret(tmp_path):
    """A very long source line is cut so that the caret stays on the screen."""
    file = tmp_path / "a.py"
    padding = "x" * 5000
    file.write_text(f'import modal\napp = modal.App("{padding}"); f = app.function(gpu="H1OO")\n')
    (finding,) = check_paths([str(file)]).findings
    lines = finding_text(finding).split("\n")
    assert max(map(len, lines[1:3])) < 140
    assert lines[1][lines[2].index("^") :].startswith('"H1OO"')
