"""``modalkit local prune``: remove built images that nothing uses."""

from __future__ import annotations

from pathlib import Path

import click

from ...errors import ModalkitError
from .ask import answer_of, plane_of
from .options import with_state

__all__ = ["command"]


@click.command("prune")
@with_state
def command(state: Path) -> None:
    """Remove the builds of images that no function uses; they are built again when needed."""
    plane = plane_of(state)
    try:
        click.echo(answer_of(plane, "/actions/prune", {})["done"])
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
