"""``modalkit check``: every problem of a file or a folder at once, before it costs anything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from ..check import CheckReport, Severity, all_rules, check_paths, find_rule
from ..check.settings import Settings, read_settings
from ..check.text import finding_text, summary_text
from ..errors import ModalkitError

__all__ = ["command"]

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan", "caret": "red"}
_LONG_WORK = 200  # files; below, it is over before anyone wonders


@click.command("check", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--static", is_flag=True, help="Execute nothing: leave out the rules over plans.")
@click.option("--select", multiple=True, metavar="CODES", help="Only these: MK101, MK2, a name.")
@click.option("--ignore", multiple=True, metavar="CODES", help="All but these.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out files and folders.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    help="How findings are written [text]; --diff and --explain know text and json.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--fail-on",
    type=click.Choice([str(one) for one in Severity]),
    help="The mildest severity that makes the exit code 1 [warning].",
)
@click.option("--budget", metavar="USD/PERIOD", help="A dearer service is an error: 500/month.")
@click.option("--fix", is_flag=True, help="Rewrite what can be rewritten safely, then check.")
@click.option("--diff", is_flag=True, help="Show what --fix would change, and write nothing.")
@click.option("--unsafe-fixes", is_flag=True, help="Also what may change what the program does.")
@click.option("--explain", metavar="CODE", help="Explain a rule; `all` lists them.")
def command(  # noqa: PLR0917 - click passes them by name
    paths: tuple[str, ...],
    static: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    exclude: tuple[str, ...],
    form: str | None,
    as_json: bool,
    fail_on: str | None,
    budget: str | None,
    fix: bool,
    diff: bool,
    unsafe_fixes: bool,
    explain: str | None,
) -> None:
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
    try:
        form = _chosen(form, as_json=as_json, only_data=diff or explain is not None)
        if explain is not None:
            click.echo(_explanation(explain, form))
            return
        settings = read_settings(Path.cwd()).with_choices(
            select=_codes(select),
            ignore=_codes(ignore),
            exclude=exclude,
            fail_on=Severity(fail_on) if fail_on else None,
            budget=budget,
            static=static or None,
        )
        _rewrite(paths or (".",), settings, form, fix=fix, diff=diff, unsafe=unsafe_fixes)
        report = check_paths(paths or (".",), settings, progress=_progress())
    except ModalkitError as error:
        raise click.UsageError(str(error)) from error
    click.echo(_written(report, form))
    if report.fails(settings):
        raise SystemExit(1)


def _chosen(form: str | None, *, as_json: bool, only_data: bool) -> str:
    """The one format that is asked for."""
    if as_json and form not in {None, "json"}:
        msg = f"--json is --format json, so leave out one of --json and --format {form}."
        raise click.UsageError(msg)
    if only_data and form in {"sarif", "github"}:
        msg = f"--format {form} writes findings; --diff and --explain know text and json."
        raise click.UsageError(msg)
    return "json" if as_json else form or "text"


def _rewrite(
    paths: tuple[str, ...], settings: Settings, form: str, *, fix: bool, diff: bool, unsafe: bool
) -> None:
    """Do what ``--fix`` and ``--diff`` ask for; a diff is all that is printed then."""
    if fix and diff:
        msg = "--diff shows what --fix would do, so give one of them."
        raise click.UsageError(msg)
    if unsafe and not fix and not diff:
        msg = "--unsafe-fixes says how far --fix and --diff may go, so give one of them too."
        raise click.UsageError(msg)
    if not fix and not diff:
        return
    from . import check_fix  # noqa: PLC0415 - a check does not need it

    if fix:
        check_fix.fix(paths, settings, unsafe=unsafe)
    else:
        show = check_fix.print_changes if form == "json" else check_fix.show_diff
        raise SystemExit(int(show(paths, settings, unsafe=unsafe)))


def _explanation(code: str, form: str) -> str:
    from ..check.formats import rules_as_json  # noqa: PLC0415 - a check does not need it
    from ..check.pages import listing, rule_text  # noqa: PLC0415 - the same

    if form == "json":
        return rules_as_json(all_rules() if code == "all" else (find_rule(code),))
    return listing() if code == "all" else rule_text(find_rule(code))


def _codes(given: tuple[str, ...]) -> list[str]:
    return [word.strip() for text in given for word in text.split(",") if word.strip()]


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
        paint = _paint if sys.stdout.isatty() else _plain
        blocks = [finding_text(finding, paint) for finding in report.findings]
        return "\n\n".join([*blocks, summary_text(report)])
    from ..check.formats import as_github, as_json, as_sarif  # noqa: PLC0415 - text is the usual one

    return {"json": as_json, "sarif": as_sarif, "github": as_github}[form](report)


def _plain(text: str, _role: str) -> str:
    return text


def _paint(text: str, role: str) -> str:
    return click.style(text, fg=_COLOURS.get(role), bold=role == "place", dim=role == "dim")
