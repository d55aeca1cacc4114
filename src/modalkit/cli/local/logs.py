"""``modalkit local logs``: what the local Modal and its apps printed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import urlencode

import click

from ...errors import ModalkitError
from ...local.presence import running
from ...local.store.places import File
from .ask import reading
from .options import with_state

__all__ = ["command"]


@click.command("logs")
@with_state
@click.argument("app", required=False, default="")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C or the local Modal's end.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="How many lines of each log to begin with.",
)
def command(state: Path, app: str, follow: bool, lines: int) -> None:
    """Show the local Modal's log and its apps', or with APP (a name or id) that app's only."""
    plane = running(state)
    if not app:
        _show_plane_log(File.LOG.of(state), lines)
    if plane is None:
        if app or follow:
            msg = (
                f"No local Modal is up for {str(state)!r}; its apps' logs are shown by one that is."
            )
            raise click.ClickException(msg)
        return
    query = urlencode({"app": app, "lines": lines, "follow": "1" if follow else ""})
    try:
        with contextlib.suppress(KeyboardInterrupt), reading(plane, f"/api/logs?{query}") as text:
            for line in text:
                click.echo(line.decode(errors="replace"), nl=False)
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error


def _show_plane_log(path: Path, lines: int) -> None:
    if path.exists() and lines:
        for line in path.read_text("utf-8", errors="replace").splitlines()[-lines:]:
            click.echo(click.style(f"local modal | {line}", dim=True))
