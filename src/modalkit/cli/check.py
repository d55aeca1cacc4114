"""``modalkit check``: every problem of a file or a folder at once, before it costs anything."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..check import CheckReport, Severity, check_paths
from ..check.settings import read_settings
from ..check.text import finding_text, summary_text
from ..errors import ModalkitError

__all__ = ["command"]

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan", "caret": "red"}


@click.command("check", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--static", is_flag=True, help="Execute nothing: leave out the rules over plans.")
@click.option("--select", multiple=True, metavar="CODES", help="Only these: MK101, MK2, a name.")
@click.option("--ignore", multiple=True, metavar="CODES", help="All but these.")
@click.option(
    "--fail-on",
    type=click.Choice([str(one) for one in Severity]),
    help="The mildest severity that makes the exit code 1 [warning].",
)
def command(
    paths: tuple[str, ...],
    static: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str | None,
) -> None:
    r"""Find every expensive mistake in Modal files, plain ones and modalkit's services.

    \b
      modalkit check chat.py
      modalkit check . --static --format github
      modalkit check --explain MK101

    PATH is a file or a folder; the current folder unless given. The exit code is 1 when something
    was found, 2 when the command itself is wrong.
    """
    try:
        settings = read_settings(Path.cwd()).with_choices(
            select=_codes(select),
            ignore=_codes(ignore),
            fail_on=Severity(fail_on) if fail_on else None,
            static=static or None,
        )
        report = check_paths(paths or ("."), settings)
    except ModalkitError as error:
        raise click.UsageError(str(error)) from error
    _print(report)
    if report.fails(settings):
        raise SystemExit(1)


def _codes(given: tuple[str, ...]) -> list[str]:
    return [word.strip() for text in given for word in text.split(",") if word.strip()]


def _print(report: CheckReport) -> None:
    for finding in report.findings:
        click.echo(finding_text(finding, _paint if sys.stdout.isatty() else _plain) + "\n")
    click.echo(summary_text(report))


def _plain(text: str, _role: str) -> str:
    return text


def _paint(text: str, role: str) -> str:
    return click.style(text, fg=_COLOURS.get(role), bold=role == "place", dim=role == "dim")
