"""Every rule finds its smallest failing file and passes its nearest passing one."""

from __future__ import annotations

import pytest

from modalkit.check import all_rules
from modalkit.check.examples import example_of
from modalkit.check.runner import check_source
from modalkit.check.settings import Settings
from modalkit.check.source import UnreadableError, parse_source

SHOWN = [rule for rule in all_rules() if rule.reads != "plan" and example_of(rule)]
WITHOUT_EXAMPLE = {
    "MK312",
    "MK824",
    "MK902",
    "MK990",
}  # a file beside another: tests/check/migration; unreadable, a broken rule: test_hostile.py


def _codes(text):
    try:
        return [one.code for one in check_source(parse_source("demo.py", text), Settings())]
    except UnreadableError:
        return ["MK901"]


@pytest.mark.parametrize("rule", SHOWN, ids=lambda rule: f"{rule.code}-{rule.name}")
def test_a_rule_finds_its_failing_file(rule):
    """The smallest failing file has a finding of the rule, and no error of another one."""
    codes = _codes(example_of(rule).failing)
    assert rule.code in codes
    errors = {one.code for one in all_rules() if one.severity == "error"}
    assert not (set(codes) & errors) - {rule.code}


@pytest.mark.parametrize("rule", SHOWN, ids=lambda rule: f"{rule.code}-{rule.name}")
def test_a_rule_passes_its_nearest_file(rule):
    """The nearest passing file has no finding of the rule, nor any error."""
    codes = _codes(example_of(rule).passing)
    assert rule.code not in codes
    assert not set(codes) & {one.code for one in all_rules() if one.severity == "error"}


def test_every_rule_over_files_has_examples():
    """No rule is without its pair of files."""
    missing = {one.code for one in all_rules() if one.reads != "plan" and not example_of(one)}
    assert missing <= WITHOUT_EXAMPLE
