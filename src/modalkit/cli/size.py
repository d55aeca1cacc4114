"""``modalkit size``: what a model needs, which GPUs it fits, what they cost. No app, no network for a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from ..errors import ModalkitError, SizingError
from ..hub import HubModel, facts_of, find_model
from ..sizing.fit import Wishes
from ..sizing.memory import LORA_RANK, EngineName, Load, Serving, lora_bytes
from ..sizing.model import ModelFacts, read_model
from ..sizing.report import SizeReport, default_load, size
from ..sizing.splits import Parallelism
from .size_text import show

__all__ = ["command"]

_CACHE_BYTES = {"auto": 2.0, "bfloat16": 2.0, "float16": 2.0, "16": 2.0}
_CACHE_BYTES |= {"fp8": 1.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0}
_Command = TypeVar("_Command", bound=Callable[..., None])
_POSITIVE = click.IntRange(min=1)


def _split_options(command: _Command) -> _Command:
    """Add how the model is spread, by the engines' own names."""
    for short, longer, what in (
        ("--ep", ("--expert-parallel-size", "--ep-size"), "Ranks with whole experts of their own."),
        (
            "--attn-dp",
            ("--attn-dp-size",),
            "Copies of the attention among the ranks: SGLang's [1].",
        ),
        (
            "--dp",
            ("--data-parallel-size", "--dp-size"),
            "Copies that answer different requests [1].",
        ),
        ("--pp", ("--pipeline-parallel-size", "--pp-size"), "Groups of consecutive layers [1]."),
        (
            "--tp",
            ("--tensor-parallel-size", "--tp-size"),
            "GPUs that share every layer [the rest].",
        ),
    ):
        command = click.option(short, *longer, type=_POSITIVE, metavar="N", help=what)(command)
    return command


@click.command("size", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.option("--context", type=_POSITIVE, metavar="TOKENS", help="Tokens of a request.")
@click.option("--concurrency", type=_POSITIVE, metavar="N", help="Requests at once [8].")
@click.option(
    "--engine",
    type=click.Choice(["sglang", "vllm", "transformers"]),
    default="vllm",
    show_default=True,
)
@click.option("--engine-version", default="", metavar="VERSION", help="Its release.")
@click.option("--gpu", metavar="TYPE[:N]", help="Examine this choice, such as H100:2.")
@_split_options
@click.option(
    "--kv-cache-dtype",
    "--kv-cache",
    "kv_cache",
    type=click.Choice(list(_CACHE_BYTES)),
    default="auto",
    show_default=True,
    help="Type of the KV cache's numbers.",
)
@click.option(
    "--gpu-memory-utilization",
    "--mem-fraction-static",
    "fraction",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Share of each GPU that the engine may take.",
)
@click.option(
    "--loras", type=click.IntRange(min=0), default=0, help="LoRA adapters kept ready [0]."
)
@click.option(
    "--lora-rank",
    type=_POSITIVE,
    default=LORA_RANK,
    show_default=True,
    help="Highest rank among them.",
)
@click.option(
    "--max-price",
    type=click.FloatRange(min=0, min_open=True),
    metavar="USD",
    help="Dearest acceptable price an hour.",
)
@click.option(
    "--headers", is_flag=True, help="Read the headers of every weight file of a hub model."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(  # noqa: PLR0917 - click passes them by name
    model: str,
    context: int | None,
    concurrency: int | None,
    engine: EngineName,
    engine_version: str,
    gpu: str | None,
    tp: int | None,
    pp: int | None,
    dp: int | None,
    attn_dp: int | None,
    ep: int | None,
    kv_cache: str,
    fraction: float | None,
    loras: int,
    lora_rank: int,
    max_price: float | None,
    headers: bool,
    as_json: bool,
) -> None:
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
    told = {"tensor": tp, "pipeline": pp, "data": dp, "attention_data": attn_dp, "experts": ep}
    split = _split(engine, told)
    try:
        found, facts = _found(model, headers=headers)
        usual = default_load(facts)
        load = Load(
            context=context or usual.context,
            concurrency=concurrency or usual.concurrency,
            cache_bytes=_CACHE_BYTES[kv_cache],
            lora_bytes=lora_bytes(facts, loras, lora_rank),
        )
        report = size(
            facts,
            load,
            engine=Serving(engine, version=engine_version, memory_fraction=fraction),
            gpu=gpu,
            wishes=Wishes(max_usd_per_hour=max_price),
            split=split,
        )
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    _print(report, found, as_json=as_json)


def _found(model: str, *, headers: bool) -> tuple[HubModel | None, ModelFacts]:
    """Ask the hub for a model, or read its folder."""
    if is_local(model):
        return None, read_model(Path(model).expanduser())
    found = find_model(*_named(model))
    return found, facts_of(found, "always" if headers else "auto")


def is_local(model: str) -> bool:
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


def _named(model: str) -> tuple[str, str | None]:
    name, _, revision = model.partition("@")
    return name, revision or None


def _split(engine: EngineName, told: Mapping[str, int | None]) -> Parallelism | None:
    """What was said of spreading the model; None if nothing was.

    Copies of vLLM's share out the routed experts, those of the others have all of them each.
    """
    said = {name: count for name, count in told.items() if count}
    if "attention_data" in said and engine != "sglang":
        msg = f"--attn-dp is SGLang's, not {engine}'s. Write --engine sglang, or --dp for copies of all layers."
        raise click.UsageError(msg)
    return Parallelism(**said, experts_shared=engine == "vllm") if said else None


def _print(report: SizeReport, found: HubModel | None, *, as_json: bool) -> None:
    """Print a report, and leave with 1 where what was asked about does not fit."""
    if as_json:
        commit = {"commit": found.commit} if found else {}
        click.echo(json.dumps({**report.to_json(), **commit}, indent=2))
    else:
        show(report)
    if report.asked is not None and report.asked.problem:
        raise SystemExit(1)
