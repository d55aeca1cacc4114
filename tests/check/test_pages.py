"""The pages of the rules are what the rules say, and their examples are what the check finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modalkit.check import all_rules
from modalkit.check.pages import index_page, listing, rule_page, rule_text

FOLDER = Path(__file__).parent.parent.parent / "docs" / "check"
RULES = all_rules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_page_is_what_its_rule_says(rule):
    """Each rule has its page, as scripts/write_check_pages.py writes it."""
    assert (FOLDER / f"{rule.code}.md").read_text("utf-8") == rule_page(rule)
    assert rule.why in rule_text(rule)


def test_the_table_has_every_rule():
    """The table and the terminal's list name every rule, and no page is left of an old one."""
    assert (FOLDER / "rules.md").read_text("utf-8") == index_page()
    assert all(rule.code in listing() for rule in RULES)
    pages = {path.stem for path in FOLDER.glob("MK*.md")}
    assert pages == {rule.code for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_words_are_sentences(rule):
    """What a rule says is in full sentences, short enough to be read under a finding."""
    for text in (rule.why, rule.summary):
        assert re.match(r"(?:[A-Z`]|vLLM).*[.!]$", text), text
        assert len(text) < 170
