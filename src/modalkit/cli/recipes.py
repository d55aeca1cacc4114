"""``modalkit recipes``: what is known to suit each model family. No network."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .._values import did_you_mean
from ..engines.recipes import Recipe, recipe_for, recipe_named, recipes

__all__ = ["command"]


@click.command("recipes", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(model: str | None, as_json: bool) -> None:
    """Show every recipe, or that of MODEL: a hub id or a recipe's name.

    \b
      modalkit recipes
      modalkit recipes Qwen/Qwen3-8B
      modalkit recipes deepseek-r1 --json

    A recipe fills the fields of SGLang and VLLM that a declaration leaves out. Exit code 1 if MODEL
    has none.
    """  # noqa: D301 - click reads the character
    chosen = recipes() if model is None else _of(model)
    if as_json:
        click.echo(json.dumps([one.model_dump(mode="json") for one in chosen], indent=2))
        return
    console = Console()
    console.print(_table(chosen))
    if model is not None:
        for line in (*chosen[0].notes, *(f"Source: {source}." for source in chosen[0].sources)):
            console.print(escape(line), highlight=False, style="dim")


def _of(model: str) -> tuple[Recipe, ...]:
    found = recipe_named(model) or recipe_for(model)
    if found is None:
        msg = (
            f"No recipe fits {model!r}: its engine gets what the declaration says and nothing else."
            f"{did_you_mean(model, [one.name for one in recipes()])}"
        )
        raise click.ClickException(msg)
    return (found,)


def _table(chosen: tuple[Recipe, ...]) -> Table:
    table = Table("recipe", "models", "SGLang", "VLLM")
    for one in chosen:
        table.add_row(
            one.name,
            escape("\n".join(one.models)),
            escape(_fields(one.sglang)),
            escape(_fields(one.vllm)),
        )
    return table


def _fields(fields: Mapping[str, object]) -> str:
    return "\n".join(f"{name}={value!r}" for name, value in fields.items()) or "-"
