"""The options of ``modalkit check``, and what they come to."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import click

from ..check import Severity
from ..check.settings import Settings, read_settings
from .options import options_as

__all__ = ["CheckOptions", "check_options"]


class CheckOptions(NamedTuple):
    """What was asked on the command line; ``check_options`` says what each is."""

    static: bool
    select: tuple[str, ...]
    ignore: tuple[str, ...]
    exclude: tuple[str, ...]
    form: str | None
    as_json: bool
    fail_on: str | None
    budget: str | None
    fix: bool
    diff: bool
    unsafe_fixes: bool
    explain: str | None

    @property
    def format(self) -> str:
        """The one format that is asked for.

        Raises:
            UsageError: Two formats, or one that this kind of answer does not know.
        """
        if self.as_json and self.form not in {None, "json"}:
            msg = f"--json is --format json, so leave out one of --json and --format {self.form}."
            raise click.UsageError(msg)
        if self.form in {"sarif", "github"} and (self.diff or self.explain is not None):
            msg = f"--format {self.form} writes findings; --diff and --explain know text and json."
            raise click.UsageError(msg)
        return "json" if self.as_json else self.form or "text"

    @property
    def settings(self) -> Settings:
        """The settings of the nearest ``pyproject.toml`` with what the command line says.

        Raises:
            DeclarationError: A code that no rule has, or a file that cannot be read.
        """
        return read_settings(Path.cwd()).with_choices(
            select=_codes(self.select),
            ignore=_codes(self.ignore),
            exclude=self.exclude,
            fail_on=Severity(self.fail_on) if self.fail_on else None,
            budget=self.budget,
            static=self.static or None,
        )

    @property
    def rewrites(self) -> bool:
        """Whether fixes are to be written or shown.

        Raises:
            UsageError: Options that contradict each other.
        """
        if self.fix and self.diff:
            msg = "--diff shows what --fix would do, so give one of them."
            raise click.UsageError(msg)
        if self.unsafe_fixes and not self.fix and not self.diff:
            msg = "--unsafe-fixes says how far --fix and --diff may go, so give one of them too."
            raise click.UsageError(msg)
        return self.fix or self.diff


def _codes(given: tuple[str, ...]) -> list[str]:
    return [word.strip() for text in given for word in text.split(",") if word.strip()]


_OPTIONS = (
    click.option("--static", is_flag=True, help="Execute nothing: leave out the rules over plans."),
    click.option("--select", multiple=True, metavar="CODES", help="Only these: MK101, MK2, a name."),
    click.option("--ignore", multiple=True, metavar="CODES", help="All but these."),
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out files and folders."),
    click.option(
        "--format", "form", type=click.Choice(["text", "json", "sarif", "github"]),
        help="How findings are written [text]; --diff and --explain know text and json.",
    ),
    click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
    click.option(
        "--fail-on", type=click.Choice([str(one) for one in Severity]),
        help="The mildest severity that makes the exit code 1 [warning].",
    ),
    click.option("--budget", metavar="USD/PERIOD", help="A dearer service is an error: 500/month."),
    click.option("--fix", is_flag=True, help="Rewrite what can be rewritten safely, then check."),
    click.option("--diff", is_flag=True, help="Show what --fix would change, and write nothing."),
    click.option("--unsafe-fixes", is_flag=True, help="Also what may change what the program does."),
    click.option("--explain", metavar="CODE", help="Explain a rule; `all` lists them."),
)  # fmt: skip

check_options = options_as(CheckOptions, "paths", _OPTIONS)
