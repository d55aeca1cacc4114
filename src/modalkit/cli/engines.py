"""``modalkit engines``: the tested set of each engine, and its flags. No network, no engine."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..engines import VLLM, SGLang
from ..engines.flags import EngineName, Flag, flag_table
from ..engines.gpu_engine import GPUEngine
from ..engines.reserved import OWNED_FLAGS
from ..engines.sets import SetName, engine_sets

__all__ = ["command"]

_CLASSES: Mapping[EngineName, type[GPUEngine]] = {"sglang": SGLang, "vllm": VLLM}
_SHOWN_CHOICES = 8


@click.command("engines", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False, type=click.Choice(["sglang", "vllm", "transformers"]))
@click.option("--flag", "text", metavar="TEXT", help="Only flags and fields that contain TEXT.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(name: SetName | None, text: str | None, as_json: bool) -> None:
    """Show the tested set of each engine; of one engine its flags too.

    \b
      modalkit engines                    # versions that belong together, with their date
      modalkit engines vllm               # every flag, and the field of VLLM that decides it
      modalkit engines --flag lora        # search both engines
      modalkit engines sglang --flag tool --json

    A flag without a field goes into extra_args. Exit code 1 if no flag contains TEXT.
    """  # noqa: D301 - click reads the character
    chosen = [name] if name else list(engine_sets())
    flags = _flags(chosen, text) if name or text else []
    if as_json:
        click.echo(json.dumps(_as_json(chosen, flags), indent=2))
    else:
        _show(chosen, flags, with_sets=text is None)
    if text and not flags:
        msg = f"No flag of {', '.join(chosen)} contains {text!r}."
        raise click.ClickException(msg)


def _flags(chosen: list[SetName], text: str | None) -> list[dict[str, object]]:
    """The flags of engines, those that contain a text."""
    return [
        row
        for engine, declared in _CLASSES.items()
        if engine in chosen
        for flag in flag_table(engine).flags
        if _contains(row := _row(engine, declared, flag), text)
    ]


def _row(engine: EngineName, declared: type[GPUEngine], flag: Flag) -> dict[str, object]:
    deciding = {spelling: field for field, spelling in declared.value_flags.items()}
    deciding |= declared.set_flags
    field = next((deciding[name] for name in flag.names if name in deciding), None)
    return {
        "engine": engine,
        "flags": list(flag.names),
        "takes": flag.takes,
        "kind": flag.kind,
        "choices": list(flag.choices),
        "field": f"{declared.__name__}({field}=...)" if field else None,
        "decided_by_modalkit": not OWNED_FLAGS.keys().isdisjoint(flag.names),
        "deprecated": flag.deprecated or None,
    }


def _contains(row: dict[str, object], text: str | None) -> bool:
    if text is None:
        return True
    wanted = text.lower().replace("_", "-").strip("-")
    return wanted in f"{row['flags']} {row['field']}".lower().replace("_", "-")


def _as_json(chosen: list[SetName], flags: list[dict[str, object]]) -> dict[str, object]:
    sets = {name: engine_sets()[name].model_dump(mode="json") for name in chosen}
    return {"sets": sets, "flags": flags}


def _show(chosen: list[SetName], flags: list[dict[str, object]], *, with_sets: bool) -> None:
    console = Console()
    if with_sets:
        console.print(_sets_table(chosen))
        for name in chosen:
            one = engine_sets()[name]
            console.print(f"{one.title}: {escape(one.tested)}.", style="dim", highlight=False)
    if flags:
        console.print(_flags_table(flags))


def _sets_table(chosen: list[SetName]) -> Table:
    table = Table("engine", "release", "torch", "transformers", "CUDA", "Python", "tested on")
    for name in chosen:
        one = engine_sets()[name]
        table.add_row(
            one.title,
            one.version,
            one.torch,
            one.transformers,
            one.cuda,
            one.python,
            one.tested_on,
        )
    return table


def _flags_table(flags: list[dict[str, object]]) -> Table:
    table = Table("engine", "flag", "value", "write", title=f"{len(flags)} flags")
    for row in flags:
        names, choices = row["flags"], row["choices"]
        assert isinstance(names, list)  # noqa: S101 - as `_row` makes them
        assert isinstance(choices, list)  # noqa: S101
        more = f" and {len(choices) - _SHOWN_CHOICES} more" if len(choices) > _SHOWN_CHOICES else ""
        value = "" if row["takes"] == "nothing" else str(row["kind"])
        value = ", ".join(choices[:_SHOWN_CHOICES]) + more if choices else value
        leave = row["deprecated"] or row["decided_by_modalkit"]
        write = row["field"] or ("leave it out" if leave else "extra_args")
        table.add_row(str(row["engine"]), escape("\n".join(names)), escape(value), str(write))
    return table
