"""``modalkit local env``: the variables that point a shell at the local Modal."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from ...local.address import pointed_at
from ...local.presence import running
from .options import with_state

__all__ = ["command"]

_SHELLS = ("sh", "bash", "zsh", "fish", "dotenv")


@click.command("env")
@with_state
@click.option(
    "--shell", type=click.Choice(_SHELLS), help="How to write them [default: $SHELL's way]."
)
def command(state: Path, shell: str | None) -> None:
    """Print the variables that point Modal's client at the local Modal that is up.

    \b
      eval "$(modalkit local env)"          # sh, bash, zsh
      modalkit local env | source           # fish
    """  # noqa: D301 - click's mark for lines to keep
    plane = running(state)
    if plane is None:
        msg = f"No local Modal is up for {str(state)!r}. Start one: modalkit local up --detach"
        raise click.ClickException(msg)
    chosen = shell or Path(os.environ.get("SHELL", "sh")).name
    wanted = pointed_at(plane.exports, os.environ)
    for name in sorted(set(os.environ) - set(wanted)):
        if chosen != "dotenv":  # an account of the user's must not reach this local Modal
            click.echo(f"set -e {name}" if chosen == "fish" else f"unset {name}")
    for name, value in wanted.items():
        if value != os.environ.get(name) or name in plane.exports:
            click.echo(_line(chosen, name, value))


def _line(shell: str, name: str, value: str) -> str:
    match shell:
        case "fish":
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"set -gx {name} '{quoted}'"
        case "dotenv":
            return f"{name}={shlex.quote(value)}"
        case _:
            return f"export {name}={shlex.quote(value)}"
