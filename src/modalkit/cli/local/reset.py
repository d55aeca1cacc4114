"""``modalkit local reset``: remove everything that is kept on disk."""

from __future__ import annotations

from pathlib import Path

import click

from ...errors import LocalModalError, ModalkitError
from ...local.presence import claim
from ...local.store.reset import describe, erase
from ...local.wording import sized
from .options import with_state

__all__ = ["command"]


@click.command("reset")
@with_state
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(state: Path, yes: bool) -> None:
    """Remove deployed apps, volumes, dicts, queues, secrets, images and results, for good."""
    if not state.exists():
        click.echo(f"There is nothing at {str(state)!r}.")
        return
    try:
        _reset(state, yes=yes)
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error


def _reset(state: Path, *, yes: bool) -> None:
    held = claim(state)
    if held is None:
        msg = f"A local Modal is up for {str(state)!r}. End it first: modalkit local down"
        raise LocalModalError(msg)
    try:
        found = describe(state)
        kinds = [f"{count} {kind}{'s' * (count != 1)}" for kind, count in found.counts.items()]
        what = ", ".join(kinds) or "no named things"
        click.echo(f"{state}: {what}; {sized(found.size_bytes)} in all.")
        if not yes:
            click.confirm("Remove all of it?", abort=True)
        erase(state)
    finally:
        held.release()
    click.echo("Removed.")
