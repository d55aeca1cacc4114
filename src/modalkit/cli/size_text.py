"""What ``modalkit size`` prints for a person."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..declare.gpu import catalogue_date
from ..sizing.fit import Pick
from ..sizing.lines import Line
from ..sizing.model import GIB
from ..sizing.report import SizeReport

__all__ = ["show"]

_SHOWN = 8
_MIB = 1024**2


def show(report: SizeReport) -> None:
    """Print a report for a person."""
    console = Console()
    console.print(_summary(report), highlight=False)
    if report.best is not None:
        console.print(_memory(report.best, report))
        if note := report.best.breakdown.note:
            console.print(note, highlight=False, style="yellow")
        console.print(_speed_line(report), highlight=False)
    console.print(_choices(report))
    console.print(f"Modal's list prices, {catalogue_date()}", highlight=False, style="dim")
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
        f"[bold]{escape(model.name)}[/] ({model.model_type or 'stated by hand'})",
        (
            f"{model.total_parameters / 1e9:.2f}B parameters{active}; {model.weight_bytes / GIB:.2f} GiB of "
            f"weights ({kind}){_files(report)}"
        ),
        f"KV cache: {model.kv_bytes_per_token(load.cache_bytes):,} bytes a token"
        + _besides(report),
        f"tensor parallel over {', '.join(map(str, model.valid_tensor_parallel()))} GPUs",
        f"sized for {load.concurrency} requests of {load.context:,} tokens on {report.engine}",
    ]
    return "\n".join(lines)


def _files(report: SizeReport) -> str:
    """What the weight files hold, where their headers were read and nothing is packed."""
    held, said = report.model.stored_parameters, report.model.total_parameters
    if not held:
        return ""
    return (
        "; as the files' headers say"
        if held == said
        else f"; {held:,} parameters by the files' headers"
    )


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
        _add(table, line, total)
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


def _add(table: Table, line: Line, total: int) -> None:
    """Add a line, and below it its parts, which make it up."""
    table.add_row(line.what, _gib(line.bytes), _bar(line.bytes, total), line.how)
    for part in line.parts:
        table.add_row(f"  {part.what}", _gib(part.bytes), "", part.how, style="dim")


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}" if size >= 10 * _MIB or not size else f"{size / GIB:.4f}"


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
