"""``modalkit local tick``: fire a schedule now."""

from __future__ import annotations

from pathlib import Path

import click

from ...errors import ModalkitError
from .ask import answer_of, plane_of
from .options import with_state

__all__ = ["command"]


@click.command("tick")
@with_state
@click.argument("name")
@click.option("-e", "--env", "environment", default="main", help="The app's environment.")
def command(state: Path, name: str, environment: str) -> None:
    """Fire the schedule called NAME now: APP, FUNCTION or APP::FUNCTION."""
    plane = plane_of(state)
    try:
        fired = answer_of(plane, "/admin/tick", {"name": name, "environment": environment})
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Fired {fired['app']}::{fired['function']} ({fired['call']}).")
