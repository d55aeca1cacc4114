"""A group of commands whose modules are imported only when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A click group over modules, so that `--help` and each command load only what they need.

    Attributes:
        package: Where the modules are; each has its command as ``command``.
        summaries: Each command's name, which is its module's, with the line that help shows.
    """

    package: str
    summaries: Mapping[str, str]

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return every command's name."""
        return sorted(self.summaries)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in self.summaries:
            return None
        command: click.Command = importlib.import_module(
            f"{self.package}.{name.replace('-', '_')}"
        ).command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self.summaries.items()))
