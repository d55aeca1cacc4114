"""The ``modalkit`` command. Each subcommand is a module that is imported when it is used."""

from __future__ import annotations

import click

from .lazy import LazyGroup

__all__ = ["main"]


class _Commands(LazyGroup):
    package = __name__
    summaries = {  # noqa: RUF012 - the same for every instance, as in the base
        "plan": "Show everything a file will create, whether it fits and what it costs.",
        "size": "Show what a model needs: memory, the GPUs it fits, their price.",
        "check": "Find every expensive mistake in Modal files before the deploy.",
        "prefetch": "Fill the weight caches of a file's services, once and verified.",
        "bench": "Load an endpoint: TTFT, ITL, throughput, errors, $/1M tokens.",
        "cold-start": "Start a file's services for real and show each phase against the budget.",
        "engines": "Show the engines' tested sets and flags; search a flag.",
        "recipes": "Show what is known to suit each model family.",
        "lock": "Pin models, GPUs and packages in modalkit.lock; --check in CI.",
        "local": "Run a command against a local Modal, on this machine and without an account.",
    }


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modalkit")
def main() -> None:
    """Declare a model, check it before it costs money, serve it on Modal or on this machine."""
