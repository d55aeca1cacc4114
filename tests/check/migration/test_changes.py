"""The table of what Modal changed, against the installed Modal and against the rules."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import modal
import modal.experimental
import modal.runner
import modal.serving
import pytest

from modalkit.check import all_rules
from modalkit.check.fixing import fix_text
from modalkit.check.migration.changes import all_changes, changes_of

PROGRAMS = [
    path.read_text() for path in sorted((Path(__file__).parent / "old_programs").glob("p*.py"))
]


def reached(name: str) -> object:
    """What a dotted name of the installed Modal is."""
    found: object = modal
    for part in name.split(".")[1:]:
        found = getattr(found, part.removesuffix("()"), None)
    return found


@pytest.mark.parametrize("change", all_changes(), ids=lambda one: one.id)
def test_a_change_is_well_formed(change) -> None:
    """Its rule exists, its dates and versions are dates and versions, and its source is named."""
    assert change.code in {one.code for one in all_rules()}
    assert change.deprecated is None or re.fullmatch(r"20\d\d-\d\d-\d\d", change.deprecated)
    assert change.gone is None or re.fullmatch(r"\d+\.\d+|[a-z_]+ \d+", change.gone)
    assert change.gone or change.deprecated
    assert change.fix in {"safe", "unsafe", "none"}
    assert change.source


@pytest.mark.parametrize(
    "change",
    [one for one in changes_of("name") if one.gone and "()" not in one.old],
    ids=lambda one: one.id,
)
def test_a_renamed_name_is_gone_and_its_successor_is_there(change) -> None:
    """The installed Modal has the new name, and not the old one, or only to refuse it."""
    old = reached(change.old)
    assert old is None or "DEPRECATED" in (inspect.getdoc(old) or "")
    assert reached(change.new) is not None


@pytest.mark.parametrize("change", changes_of("option"), ids=lambda one: one.id)
def test_a_renamed_option_has_a_successor(change) -> None:
    """The installed Modal's calls take the new keyword."""
    owner = {"modal.App().function": modal.App("x").function, "modal.enter": modal.enter}
    owner |= {"modal.Sandbox.create": modal.Sandbox.create}
    known = [owner[one] for one in change.where if one in owner]
    for call in known:
        assert change.new in inspect.signature(call).parameters


def test_every_rewrite_of_the_table_is_used_by_an_old_program() -> None:
    """The corpus has each keyword that has another name now."""
    text = "\n".join(PROGRAMS)
    missing = [
        one.old
        for one in changes_of("option", "MK802")
        if not re.search(rf"\b{re.escape(one.old)}\b", text)
    ]
    assert set(missing) <= {
        "_experimental_proxy_ip",
        "tag",
    }  # a feature of some accounts; positional


def test_what_cannot_be_rewritten_says_what_to_write() -> None:
    """A finding without a fix has the text to write."""
    program = (
        "import modal\n\napp = modal.App('x')\nd = modal.Dict.from_name('d', {'a': 1})\n"
        "m = modal.Mount.from_name('m')\n\n\n@app.function(mounts=[m])\ndef f(): ...\n"
    )
    left = fix_text("p.py", program, unsafe=True).left
    assert {one.code for one in left} >= {"MK806", "MK812"}
    assert all(one.instead for one in left)
