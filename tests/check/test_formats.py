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


def test_sarif_writes_addresses_and_rewrites(tmp_path, monkeypatch):
    """A path is encoded as an address, absolute ones have a scheme, and safe fixes are replacements."""
    monkeypatch.chdir(tmp_path)
    old = "import modal\n\nstub = modal.Stub('x')\n"
    (tmp_path / "a #1.py").write_text(old)
    (tmp_path / "b.py").write_text(old)
    report = check_paths(["a #1.py", str(tmp_path / "b.py")])
    (run,) = json.loads(as_sarif(report))["runs"]
    places = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    addresses = {one["artifactLocation"]["uri"] for one in places}
    assert addresses == {"a%20%231.py", (tmp_path / "b.py").as_uri()}
    for result in run["results"]:
        (change,) = result["fixes"][0]["artifactChanges"]
        assert change["artifactLocation"]["uri"] in addresses
        first = change["replacements"][0]
        assert first["deletedRegion"]["startLine"] == 3
        assert first["insertedContent"]["text"] == "modal.App"


def test_sarif_has_nothing_that_its_schema_does_not_know(report):
    """Objects of the log have the properties of SARIF 2.1.0, and regions count from one."""
    known = {
        "log": {"$schema", "version", "runs"},
        "run": {"tool", "columnKind", "results"},
        "driver": {"name", "semanticVersion", "rules"},
        "rule": {"id", "name", "shortDescription", "fullDescription", "help", "defaultConfiguration", "properties"},
        "result": {"ruleId", "level", "message", "locations", "fixes"},
    }  # fmt: skip
    log = json.loads(as_sarif(report))
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    held = [("log", log), ("run", run), ("driver", driver)]
    held += [("rule", one) for one in driver["rules"]] + [("result", one) for one in run["results"]]
    assert all(set(one) <= known[kind] for kind, one in held)
    regions = [one["locations"][0]["physicalLocation"]["region"] for one in run["results"]]
    assert all(min(v for v in one.values() if isinstance(v, int)) >= 1 for one in regions)


def test_a_masked_rewrite_is_not_in_sarif(tmp_path):
    """A fix that would write the stars of a masked key is left out of the log."""
    key = "hf_" + "QwErTyUiOp7412589630aSdFgHjKlZxCvB"
    file = tmp_path / "a.py"
    file.write_text(
        "import modal\n\napp = modal.App()\n\n\n"
        f"@app.function(secret=modal.Secret.from_dict({{'T': '{key}'}}))\ndef f(): ...\n"
    )
    (run,) = json.loads(as_sarif(check_paths([str(file)])))["runs"]
    assert {one["ruleId"] for one in run["results"]} >= {"MK201", "MK802"}
    assert not any("fixes" in one for one in run["results"])


@pytest.mark.parametrize("name", ["a%b.py", "a,b:c.py", "a\nb.py"])
def test_github_annotations_escape_any_name(tmp_path, monkeypatch, name):
    """What would end a property of a workflow command is written as its code."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(
        'import modal\n\napp = modal.App("x")\nf = app.function(gpu="H1OO")\n'
    )
    (line,) = as_github(check_paths([name])).split("\n")
    properties = line.removeprefix("::error ").partition("::")[0]
    written = dict(one.split("=", 1) for one in properties.split(","))
    escaped = {"%25": "%", "%2C": ",", "%3A": ":", "%0A": "\n"}
    read = written["file"]
    for code, char in [*list(escaped.items())[1:], ("%25", "%")]:
        read = read.replace(code, char)
    assert read == name
