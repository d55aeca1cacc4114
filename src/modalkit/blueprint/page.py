"""A report as one HTML file that needs nothing else: styles and drawings are in it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from ..pricing import Quote
from ..pricing.rates import Rates
from ..pricing.total import usd, usd_range
from ..sizing.facts import GIB
from .changes_section import changes_section
from .drawings import Axis, Bar, Mark, bars, curves
from .known import Assumptions, Known
from .observing import observed_words
from .price_columns import cluster_words, price_columns
from .report import PlanReport
from .studies import contexts, prices
from .values import FunctionBlueprint, Memory, ServiceBlueprint

__all__ = ["page"]


def page(report: PlanReport, known: tuple[Known, ...], rates: Rates, assumed: Assumptions) -> str:
    """Return the report.

    Args:
        report: What is planned.
        known: The services in it, with what is known of their models.
        rates: The prices.
        assumed: Traffic and speeds; without a traffic the curves take the usual request.
    """
    by_name = {one.plan.name: one for one in known}
    body = [_header(report), _cards(report), _table(report)]
    if report.comparison is not None:
        body.append(changes_section(report.comparison, report.traffic))
    body += [
        _service(service, by_name[service.name], report, rates, assumed)
        for service in report.plan.services
    ]
    for app in report.plan.apps:
        body.extend(_function(function) for function in app.functions)
    style = (files("modalkit") / "data" / "plan.css").read_text("utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Plan of {escape(report.plan.file)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}{_footer(report)}</main></body></html>\n"
    )


def _header(report: PlanReport) -> str:
    apps = ", ".join(escape(app.name) for app in report.plan.apps)
    return f"<header><p>modalkit plan</p><h1>{escape(report.plan.file)}</h1><p>Modal app {apps}</p></header>"


def _cards(report: PlanReport) -> str:
    together = report.total
    cards = [
        ("at rest", usd(together.least_hour), "an hour"),
        (
            "at most",
            "no limit" if together.most_hour is None else usd(together.most_hour),
            "an hour",
        ),
    ]
    if report.traffic is not None and together.month is not None:
        asked = f"a month under {report.traffic.requests_per_day:,.0f} requests a day"
        cards.append(("expected", usd_range(*together.month), asked))
    count = len(report.plan.services)
    plain = sum(len(app.functions) for app in report.plan.apps)
    cards.append(("deployed", str(count + plain), f"services {count}, plain functions {plain}"))
    drawn = "".join(
        f"<div><p>{name}</p><strong>{escape(value)}</strong><p>{escape(unit)}</p></div>"
        for name, value, unit in cards
    )
    problem = (
        f'<p class="alarm">{escape(report.budget_problem)}</p>' if report.budget_problem else ""
    )
    return f'<section class="cards">{drawn}</section>{problem}'


def _table(report: PlanReport) -> str:
    columns = price_columns(report)
    headings = ["USD", "GPU", *(column.heading for column in columns)]
    rows = [
        _row(
            headings,
            f'<a href="#{escape(service.name)}">{escape(service.name)}</a>',
            [_first_gpu(service), *(column.of(service.price) for column in columns)],
        )
        for service in report.plan.services
    ]
    rows += [
        _row(
            headings,
            escape(one.name),
            [_first_gpu(one), *(column.of_function(one) for column in columns)],
        )
        for app in report.plan.apps
        for one in app.functions
    ]
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    return (
        f'<section class="wide"><table class="stacks"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></section>"
    )


def _first_gpu(part: ServiceBlueprint | FunctionBlueprint) -> str:
    return part.gpus[0] if part.gpus else "CPU"


def _row(headings: list[str], name: str, cells: list[str]) -> str:
    """A row whose cells know their headings, so that a narrow page can put them below each other."""
    rest = "".join(
        f'<td data-of="{escape(heading)}">{escape(cell)}</td>'
        for heading, cell in zip(headings[1:], cells, strict=True)
    )
    return f"<tr><td>{name}</td>{rest}</tr>"


def _service(
    service: ServiceBlueprint,
    known: Known,
    report: PlanReport,
    rates: Rates,
    assumed: Assumptions,
) -> str:
    title = (
        f"{service.engine.title} serving {service.model}" if service.engine else "a custom model"
    )
    figures = [
        _memory_figure(service),
        _price_figure(service, known, report, rates, assumed),
        _context_figure(service, known),
    ]
    return (
        f'<section class="service" id="{escape(service.name)}"><h2>{escape(service.name)}</h2>'
        f"<p>{escape(title)}</p>{_facts(_service_facts(service))}"
        f'<div class="figures">{"".join(figures)}</div></section>'
    )


def _memory_figure(service: ServiceBlueprint) -> str:
    if not service.memory:
        if not service.gpus:
            return ""
        return f'<p class="note">Memory is not known: {escape(service.unsized)}</p>'
    first = service.memory[0]
    drawn = bars([_bar(one) for one in service.memory], "GiB")
    return _figure(
        "Memory of each GPU",
        f"GiB, for {first.concurrency} requests of {first.context:,} tokens; the outline is what the card has",
        drawn,
    )


def _bar(memory: Memory) -> Bar:
    parts = tuple((line.what, line.bytes / GIB) for line in memory.lines)
    free = memory.free_bytes / GIB
    verdict = (
        f"{free:.1f} free"
        if not memory.problem
        else f"short of {-free:.1f}"
        if free < 0
        else "refused"
    )
    return Bar(memory.gpu, parts, memory.total_bytes / GIB, verdict, not memory.problem)


def _price_figure(
    service: ServiceBlueprint, known: Known, report: PlanReport, rates: Rates, assumed: Assumptions
) -> str:
    curve = prices(known, rates, assumed)
    if curve is None:
        reason = service.unpriced_month or "the speed of this service is not known"
        return f'<p class="note">No price against traffic: {escape(reason)}</p>'
    price, marks = service.price, []
    if report.traffic is not None and price.month is not None and report.traffic.requests_per_day:
        marks = [Mark(report.traffic.requests_per_day, price.month.total, _month_of(price))]
    levels = []
    if price.least_month > 1:
        levels.append(Mark(0, price.least_month, f"at rest {usd(price.least_month)}"))
    if price.most_month is not None:
        levels.append(Mark(0, price.most_month, f"all containers, always {usd(price.most_month)}"))
    traffic = assumed.traffic
    tokens = (
        f"{traffic.tokens_in:,} tokens in, {traffic.tokens_out:,} out"
        if traffic
        else "500 tokens in, 200 out"
    )
    return _figure(
        "Price against traffic",
        f"USD a month on {service.gpus[0] if service.gpus else 'CPU'}, {tokens}",
        curves([curve], Axis("requests a day", _short), Axis("USD", usd), marks, levels),
    )


def _month_of(price: Quote) -> str:
    return usd(price.month.total) if price.month else ""


def _context_figure(service: ServiceBlueprint, known: Known) -> str:
    lines = contexts(known)
    if not lines:
        return ""
    marks = []
    if service.memory:
        load = service.memory[0]
        marks = [Mark(load.context, load.concurrency, "sized for")]
    return _figure(
        "Context against concurrency",
        "requests at once that fit, by the tokens of each",
        curves(lines, Axis("tokens of a request", _short), Axis("requests", _short), marks),
    )


def _figure(title: str, caption: str, drawn: str) -> str:
    return (
        f"<figure><figcaption><b>{escape(title)}</b> {escape(caption)}</figcaption>{drawn}</figure>"
    )


def _service_facts(service: ServiceBlueprint) -> Iterable[tuple[str, str]]:
    scaling, endpoint = service.scaling, service.endpoint
    most = "no limit" if scaling.max_containers is None else str(scaling.max_containers)
    yield "GPU", ", else ".join(service.gpus) or "none"
    for one in service.memory[:1]:
        yield "Told", ", ".join(one.told)
        yield "Not counted", "; ".join(one.uncounted)
        yield "Does not work", one.problem
    yield "Endpoint", f"{endpoint.kind} at {endpoint.path}, {endpoint.auth}" if endpoint else "none"
    yield (
        "Containers",
        f"{scaling.min_containers} to {most}, {service.concurrency} inputs each, idle for {scaling.scaledown_window} s",
    )
    yield "Cold start", service.cold_start.words()
    yield "Methods", ", ".join(service.methods)
    yield "Observed", observed_words(service.observed)
    yield "Volumes", ", ".join(f"{one.name} at {one.mount}" for one in service.volumes)
    yield "Secrets", ", ".join(_secret(one.name, one.keys) for one in service.secrets)
    yield "Image", " + ".join((service.image.base, *service.image.layers))
    if service.engine is not None:
        yield "Command", shlex.join(service.engine.argv)


def _function(function: FunctionBlueprint) -> str:
    facts = [
        ("GPU", ", else ".join(function.gpus) or "none"),
        ("Schedule", function.schedule or ""),
        ("Volumes", ", ".join(f"{one.name} at {one.mount}" for one in function.volumes)),
        ("Secrets", ", ".join(_secret(one.name, one.keys) for one in function.secrets)),
        ("HTTP", "" if function.web == "none" else function.web),
        ("A container", f"{usd(function.container.total)} an hour"),
        ("A cluster", cluster_words(function)),
        ("Not shown", "; ".join(function.not_shown)),
    ]
    return (
        f'<section class="service"><h2>{escape(function.name)}</h2>'
        f"<p>a plain Modal {function.kind}</p>{_facts(facts)}</section>"
    )


def _secret(name: str, keys: tuple[str, ...]) -> str:
    return f"{name} ({', '.join(keys)})" if keys else name


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs if value
    )
    return f"<dl>{rows}</dl>"


def _footer(report: PlanReport) -> str:
    notes = "".join(f"<p>{escape(warning)}</p>" for warning in report.plan.warnings)
    return (
        f"<footer>{notes}<p>{escape(report.plan.prices)}. CPU and memory that a container uses beyond what it "
        "asks for is billed too and not counted. Speeds are roofline estimates unless measured; a month "
        f"assumes packed requests and a stated burstiness. modalkit {escape(report.plan.modalkit)}.</p></footer>"
    )


def _short(number: float) -> str:
    """Write a count for an axis: ``3k``, ``1M``."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"
