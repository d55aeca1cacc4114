"""The ``modalkit`` command. Each subcommand is a module that is imported when it is used."""

from __future__ import annotations

import importlib

import click

__all__ = ["main"]

# Subcommand: its module here, and the one line that `modalkit --help` shows for it.
_COMMANDS = {
    "local": "Run a command against a local Modal, on this machine and without an account.",
}


class _LazyGroup(click.Group):
    """A group whose subcommands are imported only when asked for, so that `--help` is instant."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f".{name}", __name__)
        command: click.Command = module.command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modalkit")
def main() -> None:
    """Declare a model, check it before it costs money, serve it on Modal or on this machine."""
