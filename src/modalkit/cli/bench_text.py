"""A bench for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..bench.comparing import Change
from ..bench.percentiles import Distribution, Estimate
from ..bench.report import BenchReport, StageReport
from ..pricing.total import usd

__all__ = ["show", "show_changes"]

_NEAR = 0.1
_CLASSES = 3


def show(report: BenchReport, console: Console) -> None:
    """Print a bench: a row for each load, then what must be known to believe it."""
    model = f" {report.model}" if report.model else ""
    console.print(f"[bold]{escape(report.target)}[/]{escape(model)}, {escape(report.workload)}")
    if report.cold is not None:
        console.print(escape(_cold(report)), style="dim")
    console.print(_table(report))
    _throughput(report, console)
    for name in ("ttft", "itl", "tpot", "ttlt"):
        _distributions(name, report, console)
    for stage in report.stages:
        _about(stage, console)
    for note in report.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}")
    if report.price is not None:
        price = report.price
        console.print(
            f"[bold]Price:[/] {usd(price.usd_per_hour)} an hour for {price.containers} x {escape(price.of)} ({escape(price.source)})"
        )
    console.print("[low to high] is the 95 % confidence interval.", style="dim", markup=False)


def _cold(report: BenchReport) -> str:
    cold = report.cold
    assert cold is not None  # noqa: S101 - the caller has looked
    if cold.was_cold:
        return f"cold start {cold.start_s:.2f} s: first answer after {cold.first_answer_s:.2f} s, {cold.warm_answer_s:.2f} s when warm"
    return f"it was warm: first answer after {cold.first_answer_s:.2f} s, {cold.warm_answer_s:.2f} s again"


def _table(report: BenchReport) -> Table:
    streams = any(stage.ttft_ms for stage in report.stages)
    counts = any(stage.tokens_per_s for stage in report.stages)
    by_token = any(stage.usd_per_million_tokens for stage in report.stages)
    cost = "$/1M\ntok" if by_token else "$/1k\nreq"
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("load", no_wrap=True)
    names = ["\nreq/s", *(["\ntok/s"] if counts else [])]
    names += ["TTFT\np50", "\np90", "ITL\np50", "\np90"] if streams else []
    names += ["TTLT\np50" if streams else "latency\np50", "\np90", "\np99", "\nerrors"]
    for name in [*names, *([cost] if report.price else [])]:
        table.add_column(name, justify="right", no_wrap=True)
    for stage in report.stages:
        table.add_row(stage.load, *_cells(stage, streams=streams, counts=counts, price=cost))
    return table


def _cells(stage: StageReport, *, streams: bool, counts: bool, price: str) -> Iterator[str]:
    yield _short(stage.requests_per_s.value)
    if counts:
        yield _short(stage.tokens_per_s.value) if stage.tokens_per_s else ""
    if streams:
        for told in (stage.ttft_ms, stage.itl_ms):
            yield from (_ms(told, "p50"), _ms(told, "p90"))
    yield from (_ms(stage.ttlt_ms, one) for one in ("p50", "p90", "p99"))
    yield f"[red]{stage.error_rate:.1%}[/]" if stage.errors else "0"
    usd_each = stage.usd_per_million_tokens if "tok" in price else stage.usd_per_thousand_requests
    if usd_each is not None:
        yield usd(usd_each)


def _throughput(report: BenchReport, console: Console) -> None:
    """What each load came to a second, and what the generator used for it."""
    console.print("\n[bold]THROUGHPUT[/] [dim]a second[/]")
    for stage in report.stages:
        parts = [f"{_interval(stage.requests_per_s)} requests"]
        if stage.tokens_per_s is not None:
            parts.append(f"{_interval(stage.tokens_per_s)} tokens")
        if stage.prompt_tokens_per_s is not None:
            parts.append(f"{_short(stage.prompt_tokens_per_s)} of prompts")
        headroom = stage.headroom
        console.print(
            f"  {stage.load:<6} {', '.join(parts)}; [dim]generator {headroom.cpu_share:.0%} of a core, "
            f"sends {headroom.send_lag_p99_ms:.1f} ms late (p99)[/]",
            soft_wrap=True,
        )


def _ms(told: Distribution | None, which: str) -> str:
    return "" if told is None else _short(getattr(told, which).value)


def _short(number: float) -> str:
    if number >= 1000:  # noqa: PLR2004 - four digits are enough
        return f"{number:,.0f}"
    return f"{number:.3g}"


def _distributions(name: str, report: BenchReport, console: Console) -> None:
    """Each percentile with its interval, a line for each load."""
    told = [(stage.load, getattr(stage, f"{name}_ms")) for stage in report.stages]
    if not any(one for _, one in told):
        return
    console.print(f"\n[bold]{name.upper()}[/] [dim]in ms[/]")
    for load, one in told:
        if one is None:
            continue
        parts = [
            f"{which} {_interval(getattr(one, which))}" for which in ("p50", "p90", "p95", "p99")
        ]
        console.print(
            f"  {load:<6} mean {_short(one.mean)}  {'  '.join(parts)}  max {_short(one.most)} [dim]of {one.count:,}[/]",
            soft_wrap=True,
        )


def _interval(estimate: Estimate) -> str:
    low = "?" if estimate.low is None else _short(estimate.low)
    high = "?" if estimate.high is None else _short(estimate.high)
    return rf"{_short(estimate.value)} [dim]\[{low} to {high}][/]"


def _about(stage: StageReport, console: Console) -> None:
    lines = []
    if stage.rule is not None:
        rule = stage.rule
        verdict = "agrees with" if abs(rule.off) <= _NEAR else f"is {rule.off:+.0%} off"
        measured = f"the measured {_short(rule.measured_p90_ms)} ms"
        lines.append(
            f"P90 TTFT + P90 ITL x {rule.tokens:g} tokens = {_short(rule.estimated_p90_ms)} ms, which {verdict} {measured}"
        )
    for failure, count in list(stage.errors.items())[:_CLASSES]:
        said = stage.messages.get(failure, "")
        lines.append(f"{count} x {failure}{f': {said}' if said else ''}")
    lines += stage.notes
    if lines:
        console.print()
    for line in lines:
        console.print(f"[bold]{stage.load}[/] {escape(line)}", soft_wrap=True)


def show_changes(changed: Sequence[Change], differences: Sequence[str], console: Console) -> None:
    """Print what differs from an older bench; what may be chance is dim."""
    console.print("\n[bold]Against the older bench[/]")
    for line in differences:
        console.print(f"[yellow]Note:[/] {escape(line)}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("load", "figure"):
        table.add_column(name)
    for name in ("old", "new", "change"):
        table.add_column(name, justify="right")
    table.add_column("")
    for one in changed:
        table.add_row(one.load, one.figure, _short(one.old), _short(one.new), *_verdict(one))
    console.print(table)


def _verdict(change: Change) -> tuple[str, str]:
    percent = "" if change.percent is None else f"{change.percent:+.1f} %"
    if change.old == change.new:
        return percent, "[dim]the same[/]"
    if not change.sure:
        return f"[dim]{percent}[/]", "[dim]may be chance[/]" if change.sure is False else ""
    word, style = ("better", "green") if change.better else ("worse", "red")
    return f"[{style}]{percent}[/]", f"[{style}]{word}[/]"
