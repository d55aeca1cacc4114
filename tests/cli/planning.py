"""``modalkit plan`` in this process, and the shop that most tests plan."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from modalkit.blueprint.report import PlanReport
from modalkit.cli import main

__all__ = ["ROOT", "SHOP", "as_json", "changed", "plan"]

ROOT = Path(__file__).parents[2]
SHOP = Path(__file__).parent / "apps" / "shop.py"


def plan(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, ["plan", *map(str, arguments)])


def as_json(*arguments: object) -> PlanReport:
    """What ``--json`` prints."""
    done = plan(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return PlanReport.model_validate_json(done.stdout)


def changed(file: Path, old: str, new: str) -> Path:
    """The file with one line written otherwise."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return file
