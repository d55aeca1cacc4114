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
    "MK506",
    "MK824",
    "MK902",
    "MK990",
}  # a file beside another: tests/check/migration; a budget: test_budget.py; unreadable, a broken rule: test_hostile.py


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


@pytest.mark.parametrize(
    "text",
    [
        '    if token != os.environ.get("ROOM_TOKEN"):\n        return None\n',
        "    if not token:\n        return Response(status_code=401)\n",
    ],
)
def test_an_endpoint_that_refuses_is_not_called_public(text: str) -> None:
    """A comparison with a secret variable, or an answer 401, is a sign of authentication."""
    start = (
        'import os\n\nimport modal\n\napp = modal.App("door")\n\n\n@app.function()\n'
        "@modal.fastapi_endpoint()\ndef enter(token: str) -> None:\n"
    )
    assert "MK602" in _codes(start + "    return None\n")
    assert "MK602" not in _codes(start + text)


@pytest.mark.parametrize("pin", ["transformers==4.47.1", "vllm==0.13.0", "huggingface_hub==0.29.2"])
def test_a_variable_that_the_pinned_hub_reads_is_left(pin: str) -> None:
    """HF_HUB_ENABLE_HF_TRANSFER means something to the hub library of these releases; pip needs no version."""
    text = (
        f'import modal\n\nimage = modal.Image.debian_slim().pip_install("{pin}")\n'
        'image = image.run_commands("pip install --upgrade pip")\n'
        'image = image.env({"HF_HUB_ENABLE_HF_TRANSFER": "1"})\n'
    )
    assert not {"MK816", "MK302"} & set(_codes(text))


@pytest.mark.parametrize(
    ("reason", "found"), [("# Two: answers within a second.\n", False), ("", True)]
)
def test_a_reason_at_the_constant_explains_containers_that_are_kept(reason, found):
    """A comment at the constant counts as one at the keyword that uses it."""
    text = (
        f"import modal\n\napp = modal.App('demo')\n\n{reason}KEPT = 2\n\n"
        "@app.function(gpu='H100', min_containers=KEPT)\ndef run() -> None: ...\n"
    )
    assert ("MK503" in _codes(text)) is found
