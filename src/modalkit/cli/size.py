"""``modalkit size``: what a model needs, which GPUs it fits, what they cost. No app, no network for a folder."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ..errors import ModalkitError, SizingError
from ..hub import HubModel, facts_of, find_model
from ..sizing.fit import Pick, Wishes
from ..sizing.memory import LORA_RANK, EngineName, Load, lora_bytes
from ..sizing.model import GIB, read_model
from ..sizing.report import SizeReport, default_load, size

__all__ = ["command"]

_CACHE_BYTES = {"16": 2.0, "fp8": 1.0}
_SHOWN = 8


@click.command("size", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.option(
    "--context", type=click.IntRange(min=1), metavar="TOKENS", help="Tokens of a request."
)
@click.option(
    "--concurrency", type=click.IntRange(min=1), metavar="N", help="Requests at once [8]."
)
@click.option(
    "--engine",
    type=click.Choice(["sglang", "vllm", "transformers"]),
    default="vllm",
    show_default=True,
)
@click.option("--gpu", metavar="TYPE[:N]", help="Examine this choice, such as H100:2.")
@click.option(
    "--kv-cache",
    type=click.Choice(list(_CACHE_BYTES)),
    default="16",
    show_default=True,
    help="Bits of the KV cache's numbers.",
)
@click.option(
    "--loras", type=click.IntRange(min=0), default=0, help="LoRA adapters kept ready [0]."
)
@click.option(
    "--lora-rank",
    type=click.IntRange(min=1),
    default=LORA_RANK,
    show_default=True,
    help="Highest rank among them.",
)
@click.option("--max-price", type=float, metavar="USD", help="Dearest acceptable price an hour.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(  # noqa: PLR0917 - click passes them by name
    model: str,
    context: int | None,
    concurrency: int | None,
    engine: EngineName,
    gpu: str | None,
    kv_cache: str,
    loras: int,
    lora_rank: int,
    max_price: float | None,
    as_json: bool,
) -> None:
    """Show what MODEL needs: a folder with a config.json, or a model of the hub.

    \b
      modalkit size ./my-model
      modalkit size ./my-model --context 32768 --concurrency 32 --engine sglang
      modalkit size ./my-model --gpu H100:2 --json
      modalkit size Qwen/Qwen3-8B@main

    Weights and KV cache are worked out layer by layer from the config alone. With --gpu the exit code
    is 1 if the model does not fit it.
    """  # noqa: D301 - click reads the character
    try:
        found = None if is_local(model) else find_model(*_split(model))
        facts = facts_of(found) if found else read_model(model)
        usual = default_load(facts)
        load = Load(
            context=context or usual.context,
            concurrency=concurrency or usual.concurrency,
            cache_bytes=_CACHE_BYTES[kv_cache],
            lora_bytes=lora_bytes(facts, loras, lora_rank),
        )
        report = size(
            facts, load, engine=engine, gpu=gpu, wishes=Wishes(max_usd_per_hour=max_price)
        )
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({**report.to_json(), **_of_hub(found)}, indent=2))
    else:
        show(report)
    if report.asked is not None and report.asked.problem:
        raise SystemExit(1)


def is_local(model: str) -> bool:
    """Return whether a model is a folder or a file here; if not, it is one of the hub's.

    Raises:
        SizingError: It is written like a path, and there is nothing.
    """
    if Path(model).exists():
        return True
    if model.startswith((".", "/", "~")) or "/" not in model:
        msg = (
            f"There is no folder or file {model!r}; name one that holds the model's config.json, or a "
            "model of the hub such as 'Qwen/Qwen3-8B'."
        )
        raise SizingError(msg)
    return False


def _split(model: str) -> tuple[str, str | None]:
    name, _, revision = model.partition("@")
    return name, revision or None


def _of_hub(found: HubModel | None) -> dict[str, object]:
    """What the hub alone knows: the commit."""
    return {"commit": found.commit} if found else {}


def show(report: SizeReport) -> None:
    """Print a report for a person."""
    console = Console()
    console.print(_summary(report), highlight=False)
    if report.best is not None:
        console.print(_memory(report.best, report))
        console.print(_speed_line(report), highlight=False)
    console.print(_choices(report))
    for line in _passed_over(report):
        console.print(line, highlight=False, style="dim")


def _passed_over(report: SizeReport) -> list[str]:
    """Why not each cheaper one: a line for each type that costs less than the cheapest that fits."""
    limit = report.picks[0].usd_per_hour if report.picks else float("inf")
    cheaper = [one for one in report.rejected if one.usd_per_hour < limit]
    return [f"not {one.selection} at ${one.usd_per_hour:.2f}: {one.problem}" for one in cheaper]


def _summary(report: SizeReport) -> str:
    model, load = report.model, report.load
    active = (
        f", {model.active_parameters / 1e9:.2f}B active"
        if model.active_parameters < model.total_parameters
        else ""
    )
    kind = model.quantization or model.dtype
    lines = [
        f"[bold]{model.name}[/] ({model.model_type or 'stated by hand'})",
        (
            f"{model.total_parameters / 1e9:.2f}B parameters{active}; {model.weight_bytes / GIB:.2f} GiB of "
            f"weights ({kind})"
        ),
        f"KV cache: {model.kv_bytes_per_token(load.cache_bytes):,} bytes a token"
        + _besides(report),
        f"tensor parallel over {', '.join(map(str, model.valid_tensor_parallel()))} GPUs",
        f"sized for {load.concurrency} requests of {load.context:,} tokens on {report.engine}",
    ]
    return "\n".join(lines)


def _besides(report: SizeReport) -> str:
    """What the cache keeps besides tokens of its own."""
    model, cross = report.model, report.model.cross_bytes_per_token(report.load.cache_bytes)
    parts = [f"{cross:,} a token of the encoder" if cross else ""]
    state = model.state_bytes_per_sequence
    parts.append(f"{state:,} a sequence" if state else "")
    return "".join(f", {part}" for part in parts if part)


def _memory(best: Pick, report: SizeReport) -> Table:
    title = f"Memory of each GPU of {best.selection} ({best.gpu.total_gib:g} GiB)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading, side in (("", "left"), ("GiB", "right"), ("", "left"), ("how", "left")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]  # a literal by construction
    total = max(best.breakdown.total_bytes, best.breakdown.used_bytes)
    for line in best.breakdown.lines:
        table.add_row(line.what, f"{line.bytes / GIB:.2f}", _bar(line.bytes, total), line.source)
    free = best.breakdown.free_bytes
    table.add_row(
        "free" if free >= 0 else "short of", f"{abs(free) / GIB:.2f}", _bar(free, total), ""
    )
    if best.problem:
        table.caption = f"does not work: {best.problem}"
    else:
        table.caption = (
            f"holds up to {report.largest_concurrency:,} requests of {report.load.context:,} tokens, or "
            f"{report.largest_context:,} tokens in each of {report.load.concurrency}"
        )
    table.caption_justify = "left"
    return table


def _bar(part: int, total: int, width: int = 24) -> str:
    return "█" * round(width * max(0, part) / total)


def _speed_line(report: SizeReport) -> str:
    if report.best is None:
        return ""
    speed = report.best.speed
    low, high = speed.tokens_per_s
    text = f"about {low:,.0f} to {high:,.0f} tokens/s in all{_mark(speed.tokens_checked)}"
    if speed.first_token_s is None:
        return text
    soonest, latest = speed.first_token_s
    mark = _mark(speed.first_token_checked)
    return f"{text}; first token after {soonest:.2f} to {latest:.2f} s{mark}"


def _mark(checked: bool) -> str:
    return "" if checked else " (a roofline estimate, not measured on this card)"


def _choices(report: SizeReport) -> Table:
    table = Table(title="Cheapest that fit", title_justify="left", box=None, pad_edge=False)
    for heading in ("GPU", "USD/hour", "free GiB", "tokens/s"):
        table.add_column(heading, justify="left" if heading == "GPU" else "right")
    for one in report.picks[:_SHOWN]:
        table.add_row(
            one.selection,
            f"{one.usd_per_hour:.2f}",
            f"{one.breakdown.free_bytes / GIB:.1f}",
            f"{one.speed.tokens_per_s[0]:,.0f}-{one.speed.tokens_per_s[1]:,.0f}",
        )
    if not report.picks:
        table.caption = "nothing of the catalogue holds it on one machine"
    return table
