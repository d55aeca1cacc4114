"""``modalkit local``: a Modal on this machine, for one command or for as long as you like."""

from __future__ import annotations

from dataclasses import replace

import click

from ..lazy import LazyGroup
from .options import Options, plane_options

__all__ = ["command"]

_AS_PROGRAM = "modalkit.local.as_program"


class _CommandOrProgram(LazyGroup):
    """A group whose first word is a subcommand, or else a program to run.

    After ``--`` it is a program in any case.
    """

    package = __name__
    summaries = {  # noqa: RUF012 - the same for every instance, as in the base
        "up": "Keep a local Modal running, here or in the background (--detach).",
        "down": "End the one that is running.",
        "status": "Show apps, containers, endpoints, schedules and disk use (--json).",
        "logs": "Show what it and its apps printed (-f to follow).",
        "env": "Print the variables that point a shell at it.",
        "tick": "Fire a schedule now.",
        "prune": "Remove built images that nothing uses.",
        "reset": "Remove everything it keeps on disk; asks first.",
    }

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember whether the words were set off by ``--``."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        words = [*ctx._protected_args, *ctx.args]  # noqa: SLF001 - click's own split of the rest
        before = given[: len(given) - len(words)]
        ctx.meta[_AS_PROGRAM] = before[-1:] == ["--"]
        return rest

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that is meant, or the one that runs a program."""
        if args[0] in self.summaries and not ctx.meta[_AS_PROGRAM]:
            return super().resolve_command(ctx, args)
        from .run import command as run_program  # noqa: PLC0415 - for this one way only

        return "run", run_program, ["--", *args]

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Say in the usage line that any command may follow."""
        return ["[OPTIONS]", "COMMAND..."] if ctx.command is self else []


@click.group(
    "local",
    cls=_CommandOrProgram,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@plane_options
@click.option(
    "--for",
    "stay_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long deployed web endpoints go on answering after the command [default: until Ctrl-C].",
)
@click.option("--exit", "leave", is_flag=True, help="End with the command; the same as --for 0.")
def command(options: Options, stay_s: float | None, leave: bool) -> None:
    """Run COMMAND against a Modal on this machine, started for it: no account, no network.

    \b
      modalkit local modal run app.py
      modalkit local modal run app.py::main --name x
      modalkit local modal serve app.py
      modalkit local modal deploy app.py
      modalkit local modal volume put weights ./weights /
      modalkit local modal secret create hf HF_TOKEN=...
      modalkit local pytest
      modalkit local up

    The modal client is the unmodified one, pointed at 127.0.0.1 by environment variables; your
    Modal profile and token are neither read nor sent. The command's exit code is passed on. If a
    local Modal is up already for the same state folder, the command joins it.

    If the command deployed an app with web endpoints, they go on answering until Ctrl-C (see --for
    and --exit). A program with the name of a command below is run with -- in front of it.
    """  # noqa: D301 - click's mark for lines to keep
    click.get_current_context().obj = replace(options, stay_s=0.0 if leave else stay_s)
