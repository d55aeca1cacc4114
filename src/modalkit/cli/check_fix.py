"""``modalkit check --fix`` and ``--diff``: rewrite files, or show what that would change."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import click

from ..check.fixing import Fixed, fix_paths
from ..check.formats import changes_as_json
from ..check.settings import Settings
from ..check.text import many

__all__ = ["fix", "print_changes", "show_diff"]

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def fix(paths: Sequence[str], settings: Settings, *, unsafe: bool) -> None:
    """Rewrite files and say on standard error which, so that a report on standard output stays whole."""
    changed = fix_paths(paths, settings, unsafe=unsafe)
    for path, fixed in changed.items():
        click.echo(f"{path}: {_what(fixed)}", err=True)
    count = sum(len(one.applied) for one in changed.values())
    if changed:
        click.echo(f"Fixed {many(count, 'problem')} in {many(len(changed), 'file')}.\n", err=True)


def show_diff(paths: Sequence[str], settings: Settings, *, unsafe: bool) -> bool:
    """Print what ``fix`` would change; return whether it would change anything."""
    changed = fix_paths(paths, settings, unsafe=unsafe, write=False)
    for path, fixed in changed.items():
        for line in fixed.diff(path).splitlines():
            click.echo(_coloured(line) if sys.stdout.isatty() else line)
    click.echo(_summary(changed, unsafe=unsafe), err=True)
    return bool(changed)


def print_changes(paths: Sequence[str], settings: Settings, *, unsafe: bool) -> bool:
    """Print as JSON what ``fix`` would change; return whether it would change anything."""
    changed = fix_paths(paths, settings, unsafe=unsafe, write=False)
    click.echo(changes_as_json(changed, unsafe=unsafe))
    return bool(changed)


def _summary(changed: Mapping[str, Fixed], *, unsafe: bool) -> str:
    option = "--fix --unsafe-fixes" if unsafe else "--fix"
    if not changed:
        return f"{option} would change nothing."
    count = sum(len(one.applied) for one in changed.values())
    more = sum(one.unsafe for one in changed.values())
    rest = f" {more} more with --unsafe-fixes." if more else ""
    problems, files = many(count, "problem"), many(len(changed), "file")
    return f"{option} would fix {problems} in {files}.{rest}"


def _what(fixed: Fixed) -> str:
    counts = Counter(f"{one.code} {one.name}" for one in fixed.applied)
    return ", ".join(f"{name} ({n})" if n > 1 else name for name, n in sorted(counts.items()))


def _coloured(line: str) -> str:
    if line.startswith(("+++", "---")):
        return click.style(line, bold=True)
    return click.style(line, fg=_COLOURS.get(line[:1]))
