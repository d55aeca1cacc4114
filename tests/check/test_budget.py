"""What is kept waiting is held against the budget, with nothing of the file run."""

from __future__ import annotations

import pytest

from modalkit.declare.catalogue import catalogue_date

from .checking import codes, findings

HEAD = "import modal\n\napp = modal.App('demo')\n"
KEPT = "\n\n# Kept, since answers must come at once.\n@app.function({0})\ndef {1}(): ...\n"


def _file(*options: str) -> str:
    return HEAD + "".join(
        KEPT.format(one, name) for one, name in zip(options, "abcdef", strict=False)
    )


@pytest.mark.parametrize(
    ("options", "budget", "found"),
    [
        (("gpu='H100', min_containers=1",), "500/month", True),
        (("gpu='H100', min_containers=1",), "5000/month", False),
        (("gpu='H100', min_containers=1",), "3/hour", True),
        (("gpu='H100', min_containers=1",), "5/hour", False),
        (("gpu='T4', min_containers=1", "gpu='T4', min_containers=1"), "500/month", True),
        (("gpu='T4', min_containers=1",), "500/month", False),
        (("cpu=32, memory=131072, min_containers=1",), "500/month", True),
        (("min_containers=1",), "50/month", False),
        (("gpu='H100', max_containers=100",), "500/month", False),
        (("gpu='H100', min_containers=KEPT",), "500/month", False),
    ],
)
def test_what_is_kept_is_held_against_the_budget(
    options: tuple[str, ...], budget: str, found: bool
) -> None:
    """GPUs, cores and memory of ``min_containers`` count, of all functions of a file together."""
    assert ("MK506" in codes(_file(*options), budget=budget)) is found
    assert "MK506" not in codes(_file(*options))


def test_the_price_has_its_date() -> None:
    """The message says how much, over which budget, and of which day the prices are."""
    text = _file("gpu='H100', min_containers=3")
    (found,) = [one for one in findings(text, budget="500/month") if one.code == "MK506"]
    assert found.source_line == "@app.function(gpu='H100', min_containers=3)"
    assert "over the budget of 500/month" in found.message
    assert catalogue_date() in found.message
