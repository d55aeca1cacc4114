"""A bench as one HTML file that needs nothing else: styles and plots are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from ..blueprint.drawings import Axis, Curve, Mark, curves
from ..pricing.total import usd
from .comparing import Change, changes, differences
from .percentiles import Distribution, Estimate
from .report import BenchReport, StageReport

__all__ = ["page"]

_TIMES = (("ttft_ms", "TTFT"), ("itl_ms", "ITL"), ("ttlt_ms", "TTLT"))
_MOST_LINES = 6


def page(report: BenchReport, older: BenchReport | None = None) -> str:
    """Return the report.

    Args:
        report: The bench.
        older: Another to set it beside.
    """
    body = [_header(report), _cards(report), _table(report), _notes(report)]
    body.append(_section("Against load", "".join(_against_load(report, older))))
    body.append(_section("How it was distributed", "".join(_distributions(report.stages))))
    body.append(_section("In the course of time", "".join(map(_timeline, report.stages))))
    if older is not None:
        body.append(_changes(changes(older, report), list(differences(older, report))))
    style = (files("modalkit") / "data" / "plan.css").read_text("utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Bench of {escape(report.target)}</title><style>{style}</style></head>"
        f'<body class="bench"><main>{"".join(body)}{_footer(report)}</main></body></html>\n'
    )


def _header(report: BenchReport) -> str:
    what = " ".join(one for one in (report.model, report.kind, "of", report.workload) if one)
    return (
        f"<header><p>modalkit bench</p><h1>{escape(report.target)}</h1>"
        f"<p>{escape(what)}, {escape(report.began_at)}</p></header>"
    )


def _cards(report: BenchReport) -> str:
    cards = []
    if report.stages:
        best = max(report.stages, key=lambda stage: stage.requests_per_s.value)
        first = report.stages[0]
        if best.tokens_per_s is not None:
            cards.append(("tokens a second", _number(best.tokens_per_s.value), f"at {best.load}"))
        else:
            cards.append(
                ("answers a second", _number(best.requests_per_s.value), f"at {best.load}")
            )
        told = first.ttft_ms or first.ttlt_ms
        name = "first token, 90 %" if first.ttft_ms else "answer, 90 %"
        if told is not None:
            cards.append((name, f"{_number(told.p90.value)} ms", f"at {first.load}"))
        costs = [one.usd_per_million_tokens for one in report.stages if one.usd_per_million_tokens]
        if costs:
            cards.append(("a million tokens", usd(min(costs)), "prompts and answers, at full load"))
    if report.cold is not None:
        value = f"{report.cold.start_s:.1f} s" if report.cold.was_cold else "was warm"
        cards.append(("cold start", value, f"then {report.cold.warm_answer_s:.2f} s an answer"))
    drawn = "".join(
        f"<div><p>{name}</p><strong>{escape(value)}</strong><p>{escape(unit)}</p></div>"
        for name, value, unit in cards
    )
    return f'<section class="cards">{drawn}</section>'


def _table(report: BenchReport) -> str:
    heads = (
        *("load", "measured", "answers/s", "tokens/s", "TTFT p50", "p90", "ITL p50", "p90"),
        *("TTLT p50", "p90", "p99", "failed", "$/1M tokens", "generator"),
    )
    cells = [list(_cells(stage)) for stage in report.stages]
    told = [
        at for at in range(len(heads)) if any(row[at] for row in cells)
    ]  # a route has no tokens
    rows = "".join(f"<tr>{''.join(f'<td>{row[at]}</td>' for at in told)}</tr>" for row in cells)
    head = "".join(f"<th>{heads[at]}</th>" for at in told)
    return f'<section class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>'


def _cells(stage: StageReport) -> Iterator[str]:
    yield f"<b>{escape(stage.load)}</b>"
    yield f"{stage.seconds:.0f} s, {stage.requests:,}"
    yield _estimate(stage.requests_per_s)
    yield _estimate(stage.tokens_per_s) if stage.tokens_per_s else ""
    for told in (stage.ttft_ms, stage.itl_ms, stage.ttlt_ms):
        yield _estimate(told.p50) if told else ""
        yield _estimate(told.p90) if told else ""
    yield _estimate(stage.ttlt_ms.p99) if stage.ttlt_ms else ""
    yield f'<span class="bad">{stage.error_rate:.1%}</span>' if stage.errors else "0"
    yield usd(stage.usd_per_million_tokens) if stage.usd_per_million_tokens else ""
    yield f"{stage.headroom.cpu_share:.0%}, {stage.headroom.send_lag_p99_ms:.1f} ms"


def _estimate(estimate: Estimate) -> str:
    low = "?" if estimate.low is None else _number(estimate.low)
    high = "?" if estimate.high is None else _number(estimate.high)
    return f"{_number(estimate.value)}<small>{low} to {high}</small>"


def _notes(report: BenchReport) -> str:
    lines = list(report.notes)
    for stage in report.stages:
        if stage.rule is not None:
            rule = stage.rule
            lines.append(
                f"{stage.load}: P90 TTFT + P90 ITL x {rule.tokens:g} tokens = {_number(rule.estimated_p90_ms)} ms, "
                f"{rule.off:+.0%} against the measured {_number(rule.measured_p90_ms)} ms."
            )
        lines += [
            f"{stage.load}: {count} x {failure}: {stage.messages.get(failure, '')}"
            for failure, count in stage.errors.items()
        ]
        lines += [f"{stage.load}: {note}" for note in stage.notes]
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)


def _changes(changed: Sequence[Change], notes: Sequence[str]) -> str:
    """A row for each figure, a column for each load."""
    loads = list(dict.fromkeys(one.load for one in changed))
    by_place = {(one.figure, one.load): one for one in changed}
    rows = ""
    for figure in dict.fromkeys(one.figure for one in changed):
        cells = [_verdict(by_place.get((figure, load))) for load in loads]
        rows += f"<tr><td>{escape(figure)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    told = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    head = "".join(f"<th>{escape(name)}</th>" for name in ("figure", *loads))
    return (
        '<section class="service"><h2>Against the older bench</h2>'
        f'{told}<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        "<p>Coloured where the confidence intervals are apart; the rest may be chance.</p></section>"
    )


def _verdict(change: Change | None) -> str:
    if change is None:
        return ""
    percent = "" if change.percent is None else f"{change.percent:+.1f} %"
    style = ("good" if change.better else "bad") if change.sure else "dim"
    then_now = f"<small>{_number(change.old)} to {_number(change.new)}</small>"
    return f'<span class="{style}">{percent}</span>{then_now}'


def _against_load(report: BenchReport, older: BenchReport | None) -> Iterator[str]:
    for kind, title in (("concurrency", "clients at once"), ("rate", "requests a second, due")):
        stages = [one for one in report.stages if getattr(one, kind) is not None]
        if not stages:
            continue
        x = Axis(title, _short)
        lines = [_band(stages, kind, field, name) for field, name in _TIMES]
        if older is not None:
            then = [one for one in older.stages if getattr(one, kind) is not None]
            lines.append(_band(then, kind, "ttlt_ms", "TTLT then"))
        drawn = [line for line in lines if line is not None]
        marks = [Mark(at, y, "") for line in drawn for at, y in line.upper]
        if drawn:
            caption = "ms, from the median to the 90th percentile"
            yield _figure("Latency", caption, curves(drawn, x, Axis("ms", _short), marks))
        yield _figure("Throughput", "a second", _throughput(stages, kind, x))


def _band(stages: Sequence[StageReport], kind: str, field: str, name: str) -> Curve | None:
    told = sorted(
        (getattr(one, kind), getattr(one, field)) for one in stages if getattr(one, field)
    )
    if not told:
        return None
    return Curve(
        name=name,
        points=tuple((x, one.p50.value) for x, one in told),
        upper=tuple((x, one.p90.value) for x, one in told),
    )


def _throughput(stages: Sequence[StageReport], kind: str, x: Axis) -> str:
    lines = []
    for field, name in (("requests_per_s", "answers"), ("tokens_per_s", "tokens")):
        told = sorted(
            (getattr(one, kind), getattr(one, field).value) for one in stages if getattr(one, field)
        )
        points = tuple((at, value) for at, value in told if value > 0)
        if points:
            lines.append(Curve(name=name, points=points))
    marks = [Mark(at, y, "") for line in lines for at, y in line.points]
    return curves(lines, x, Axis("a second", _short), marks) if lines else ""


def _distributions(stages: Sequence[StageReport]) -> Iterator[str]:
    x, y = Axis("ms", _short), Axis("%", _short, even=True)
    names = dict(_TIMES) if any(one.ttft_ms for one in stages) else {"ttlt_ms": "Latency"}
    for field, name in names.items():
        told = [(one.load, getattr(one, field)) for one in stages[:_MOST_LINES]]
        lines = [_shares(load, one) for load, one in told if one is not None]
        if lines:
            yield _figure(
                name, "the share of answers that were no slower", curves(lines, x, y, legend=True)
            )


def _shares(load: str, told: Distribution) -> Curve:
    shown = list(enumerate(told.shape))[1:]  # the quickest of all would stretch the axis
    return Curve(
        name=load, points=tuple((max(value, 0.001), float(share)) for share, value in shown)
    )


def _timeline(stage: StageReport) -> str:
    streams = (("first_p50_ms", "first"), ("last_p50_ms", "last"), ("last_p99_ms", "last 99 %"))
    answers = (("last_p50_ms", "median"), ("last_p99_ms", "99 %"))
    lines = []
    for field, name in streams if stage.ttft_ms else answers:
        told = [(one.at_s, getattr(one, field)) for one in stage.timeline]
        points = tuple((at, value) for at, value in told if value is not None)
        if points:
            lines.append(Curve(name=name, points=points))
    if not lines:
        return ""
    failed = [one for one in stage.timeline if one.errors]
    top = max(y for line in lines for _, y in line.points)
    marks = [Mark(one.at_s, top, f"{one.errors} failed") for one in failed[:_MOST_LINES]]
    drawn = curves(lines, Axis("s", _short, even=True), Axis("ms", _short), marks)
    what = "the first and the last token" if stage.ttft_ms else "the answer"
    return _figure(stage.load, f"ms to {what}, by when it was due", drawn)


def _section(title: str, body: str) -> str:
    return f'<section class="service"><h2>{escape(title)}</h2><div class="figures">{body}</div></section>'


def _figure(title: str, caption: str, drawn: str) -> str:
    return (
        f"<figure><figcaption><b>{escape(title)}</b> {escape(caption)}</figcaption>{drawn}</figure>"
    )


def _footer(report: BenchReport) -> str:
    price = report.price
    cost = (
        f" {price.containers} x {price.of} at {usd(price.usd_per_hour)} an hour ({price.source})."
        if price
        else ""
    )
    return (
        "<footer><p>Small figures are 95 % confidence intervals. Latencies are of good answers; in an open loop they "
        f"count from when a request was due. {report.warm_up_s:g} s of warm-up are cut off each load. Generator: "
        f"{escape(report.machine)}; its share of a core and how late it sent (99 %).{escape(cost)} "
        f"modalkit {escape(report.modalkit)}.</p></footer>"
    )


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"  # noqa: PLR2004 - four digits are enough


def _short(number: float) -> str:
    """Write a number for an axis: ``3k``, ``0.1``."""
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"  # noqa: PLR2004
