"""``modalkit size``: what a model needs, which GPUs it fits, what they cost. No app, no network for a folder."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..errors import ModalkitError, SizingError
from ..hub import HubModel, facts_of, find_model
from ..sizing.model import ModelFacts, read_model
from ..sizing.report import SizeReport, size
from .size_options import SizeOptions, size_options
from .size_text import show

__all__ = ["command"]


@click.command("size", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@size_options
def command(model: str, options: SizeOptions) -> None:
    """Show what MODEL needs: a folder with a config.json, or a model of the hub.

    \b
      modalkit size ./my-model
      modalkit size ./my-model --context 32768 --concurrency 32 --engine sglang
      modalkit size ./my-model --gpu H100:2 --json
      modalkit size ./my-model --tp 4 --pp 2 --kv-cache-dtype fp8
      modalkit size Qwen/Qwen3-8B@main --headers

    Weights and KV cache are worked out layer by layer from the config alone; what weight files hold beyond
    it is read from their headers. With --gpu the exit code is 1 if the model does not fit it.
    """  # noqa: D301 - click reads the character
    split = options.split
    try:
        found, facts = _found(model, headers=options.headers)
        report = size(
            facts,
            options.load(facts),
            engine=options.serving,
            gpu=options.gpu,
            wishes=options.wishes,
            split=split,
        )
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    _print(report, found, as_json=options.as_json)


def _found(model: str, *, headers: bool) -> tuple[HubModel | None, ModelFacts]:
    """Ask the hub for a model, or read its folder."""
    if _is_here(model):
        return None, read_model(Path(model).expanduser())
    name, _, revision = model.partition("@")
    found = find_model(name, revision or None)
    return found, facts_of(found, "always" if headers else "auto")


def _is_here(model: str) -> bool:
    """Return whether a model is a folder or a file here; if not, it is one of the hub's.

    Raises:
        SizingError: It is written like a path, and there is nothing.
    """
    if Path(model).expanduser().exists():
        return True
    if model.startswith((".", "/", "~")) or "/" not in model:
        msg = (
            f"There is no folder or file {model!r}; name one that holds the model's config.json, or a "
            "model of the hub such as 'Qwen/Qwen3-8B'."
        )
        raise SizingError(msg)
    return False


def _print(report: SizeReport, found: HubModel | None, *, as_json: bool) -> None:
    """Print a report, and leave with 1 where what was asked about does not fit."""
    if as_json:
        commit = {"commit": found.commit} if found else {}
        click.echo(json.dumps({**report.to_json(), **commit}, indent=2))
    else:
        show(report)
    if report.asked is not None and report.asked.problem:
        raise SystemExit(1)
