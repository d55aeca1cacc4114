"""``modalkit check``: every problem of a file or a folder at once, before it costs anything."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from ..check import CheckReport, all_rules, check_paths, find_rule
from ..check.settings import Settings
from ..check.text import finding_text, summary_text
from ..errors import ModalkitError
from .check_options import CheckOptions, check_options

__all__ = ["command"]

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan", "caret": "red"}
_LONG_WORK = 200  # files; below, it is over before anyone wonders


@click.command("check", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@check_options
def command(paths: tuple[str, ...], options: CheckOptions) -> None:
    """Find every expensive mistake in Modal files, plain ones and modalkit's services.

    \b
      modalkit check chat.py
      modalkit check . --static --format github
      modalkit check . --diff
      modalkit check . --fix
      modalkit check --explain MK101

    PATH is a file or a folder; the current folder unless given. Settings are in [tool.modalkit.check]
    of the nearest pyproject.toml. The exit code is 1 when an error or a warning was found, 2 when the
    command itself is wrong.
    """  # noqa: D301 - click reads the character
    paths = paths or (".",)
    try:
        form = options.format
        if options.explain is not None:
            click.echo(_explanation(options.explain, form))
            return
        settings = options.settings
        if options.rewrites:
            _rewrite(paths, settings, options)
        report = check_paths(paths, settings, progress=_progress())
    except ModalkitError as error:
        raise click.UsageError(str(error)) from error
    click.echo(_written(report, form))
    if report.fails(settings):
        raise SystemExit(1)


def _rewrite(paths: tuple[str, ...], settings: Settings, options: CheckOptions) -> None:
    """Do what ``--fix`` and ``--diff`` ask for; a diff is all that is printed then."""
    from . import check_fix  # noqa: PLC0415 - a check does not need it

    unsafe = options.unsafe_fixes
    if options.fix:
        check_fix.fix(paths, settings, unsafe=unsafe)
    else:
        show = check_fix.print_changes if options.format == "json" else check_fix.show_diff
        raise SystemExit(int(show(paths, settings, unsafe=unsafe)))


def _explanation(code: str, form: str) -> str:
    from ..check.formats import rules_as_json  # noqa: PLC0415 - a check does not need it
    from ..check.pages import listing, rule_text  # noqa: PLC0415 - the same

    if form == "json":
        return rules_as_json(all_rules() if code == "all" else (find_rule(code),))
    return listing() if code == "all" else rule_text(find_rule(code))


def _progress() -> Callable[[int, int], None] | None:
    """Say on a terminal how far a long check is."""
    if not sys.stderr.isatty():
        return None

    def say(done: int, of: int) -> None:
        if of >= _LONG_WORK and (done % 20 == 0 or done == of):
            click.echo(
                f"\r{done:,} of {of:,} files" if done < of else "\r\033[K", err=True, nl=False
            )

    return say


def _written(report: CheckReport, form: str) -> str:
    if form == "text":
        painted = {"paint": _paint} if sys.stdout.isatty() else {}
        blocks = [finding_text(finding, **painted) for finding in report.findings]
        return "\n\n".join([*blocks, summary_text(report)])
    from ..check.formats import as_github, as_json, as_sarif  # noqa: PLC0415 - text is the usual one

    return {"json": as_json, "sarif": as_sarif, "github": as_github}[form](report)


def _paint(text: str, role: str) -> str:
    return click.style(text, fg=_COLOURS.get(role), bold=role == "place", dim=role == "dim")
