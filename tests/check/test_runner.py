"""Files and folders through the whole check: what is read, what is silenced, how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modalkit.check import Severity, all_rules, check_paths
from modalkit.check.rule import GROUPS
from modalkit.check.settings import Settings
from modalkit.errors import DeclarationError

WRONG = 'import modal\n\napp = modal.App("x")\n\n\n@app.function(gpu="H1OO", timeout=60)\ndef f(): ...\n'


def _codes(path, settings=None):
    return [one.code for one in check_paths([str(path)], settings).findings]


def test_a_finding_knows_its_place(tmp_path):
    """A finding has file, line, column and source line of the value that is wrong."""
    file = tmp_path / "a.py"
    file.write_text(WRONG)
    (finding,) = check_paths([str(file)]).findings
    assert finding.place == f"{file}:6:19"
    assert finding.source_line == '@app.function(gpu="H1OO", timeout=60)'
    assert finding.severity is Severity.ERROR


def test_an_ignore_silences_its_line_only(tmp_path):
    """An ignore comment silences the rule it names, on its own line or alone on the line above."""
    file = tmp_path / "a.py"
    file.write_text(WRONG.replace("60)", "60)  # modalkit: ignore[MK101] a test"))
    assert _codes(file) == []
    file.write_text(WRONG.replace("@app", "# modalkit: ignore[MK101] a test\n@app"))
    assert _codes(file) == []
    file.write_text(WRONG.replace("60)", "60)  # modalkit: ignore[MK201]"))
    assert _codes(file) == ["MK101", "MK911"]


def test_an_ignore_names_a_rule(tmp_path):
    """A comment that names no rule silences nothing and is reported."""
    file = tmp_path / "a.py"
    file.write_text(WRONG.replace("60)", "60)  # modalkit: ignore"))
    assert _codes(file) == ["MK101", "MK912"]


def test_the_word_in_a_string_is_no_ignore(tmp_path):
    """Only comments are read: a string that says the same is text."""
    file = tmp_path / "a.py"
    file.write_text(WRONG + 'TEXT = "# modalkit: ignore[MK101]"\n')
    assert _codes(file) == ["MK101"]


def test_folders_are_searched_for_modal_files(tmp_path):
    """A folder gives its Python files that speak of Modal, without environments and hidden folders."""
    for folder in ("shop", ".hidden", "venv", "shop/__pycache__"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text(WRONG)
    (tmp_path / "shop" / "old.py").write_text("print 'no Modal here'\n")
    found = check_paths([str(tmp_path)]).findings
    assert [Path(one.path).relative_to(tmp_path).as_posix() for one in found] == ["shop/a.py"]


def test_a_path_that_is_not_there_is_an_error():
    """A missing path is said so, not passed over."""
    with pytest.raises(DeclarationError, match="no file or folder 'nowhere'"):
        check_paths(["nowhere"])


def test_select_and_ignore_take_beginnings_and_names(tmp_path):
    """Codes are chosen whole, by their beginning, or by name."""
    file = tmp_path / "a.py"
    file.write_text(WRONG)
    assert _codes(file, Settings(select=("MK1",))) == ["MK101"]
    assert _codes(file, Settings(select=("MK2",))) == []
    assert _codes(file, Settings(ignore=("unknown-gpu",))) == []


def test_every_rule_belongs_to_a_group():
    """Codes are MK and three digits, of a hundred that has a title, and names are one of a kind."""
    rules = all_rules()
    assert all(len(one.code) == 5 and one.code[:3] in GROUPS for one in rules)
    assert len({one.name for one in rules}) == len(rules)


def test_a_static_check_loads_neither_pydantic_nor_modal() -> None:
    """What a check of plain code needs stays light, since imports are most of its time."""
    code = (
        "import sys; from modalkit.check import all_rules, check_paths; all_rules();"
        "print([one for one in ('pydantic', 'modal', 'rich', 'modalkit.sizing') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
