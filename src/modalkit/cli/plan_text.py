"""A plan for a person at a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..blueprint.changes import Change, Comparison
from ..blueprint.observing import observed_words
from ..blueprint.price_columns import cluster_words, price_columns
from ..blueprint.report import PlanReport
from ..blueprint.values import (
    AppBlueprint,
    EndpointUse,
    EngineUse,
    FunctionBlueprint,
    ImageUse,
    Memory,
    ResourceUse,
    SecretUse,
    ServiceBlueprint,
    VolumeUse,
)
from ..declare.resources import Resources
from ..declare.scaling import Scaling
from ..pricing.month import Traffic
from ..pricing.total import usd, usd_range
from ..sizing.facts import GIB

__all__ = ["show"]

_BAR = 32
_WIDEST = 200  # of the table of prices, which is as wide as its figures and never cut
_SHADES = "█▓▒░▚▞"


def show(report: PlanReport, console: Console) -> None:
    """Print a plan; its last line is the price."""
    for app in report.plan.apps:
        _app(app, console)
    if report.comparison is not None:
        _comparison(report.comparison, report.traffic, console)
    _prices(report, console)
    for warning in report.plan.warnings:
        console.print(f"[yellow]Note:[/] {escape(warning)}")
    console.print(f"[bold]Price:[/] {escape(_last_line(report))}")


def _app(app: AppBlueprint, console: Console) -> None:
    console.print(f"[bold]app {escape(app.name)}[/]")
    for service in app.services:
        _service(service, console)
    for function in app.functions:
        _function(function, console)
    if app.entrypoints:
        console.print(f"  entrypoints on this machine: {escape(', '.join(app.entrypoints))}")
    console.print()


def _rows(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    for name, text in rows:
        if text:
            console.print(f"    [dim]{name:<10}[/]{text}")


def _service(service: ServiceBlueprint, console: Console) -> None:
    what = (
        f"{service.engine.title} serving {service.model or 'nothing'}"
        if service.engine
        else "a custom model"
    )
    commit = f" at {service.revision[:12]}" if service.revision else ""
    console.print(f"\n  [bold cyan]{escape(service.name)}[/] {escape(what + commit)}")
    _rows(console, [("gpu", escape(", else ".join(service.gpus) or "none: runs on CPU"))])
    _rows(console, [*_memory_rows(service), *_passed_over_rows(service), *_speed_rows(service)])
    _rows(
        console,
        [
            ("engine", escape(shlex.join(service.engine.argv)) if service.engine else ""),
            ("recipe", escape(_recipe(service.engine))),
            ("on demand", escape(", ".join(service.engine.on_demand)) if service.engine else ""),
            *_image_rows(service.image),
            ("volumes", escape(_volumes(service.volumes))),
            ("secrets", escape(_secrets(service.secrets))),
            ("variables", escape(", ".join(service.variables))),
            ("endpoint", escape(_endpoint(service.endpoint))),
            ("methods", escape(", ".join(service.methods))),
            ("observed", escape(observed_words(service.observed))),
            ("scaling", escape(_scaling(service.scaling, service.concurrency))),
            ("start", _start(service)),
            ("resources", escape(_resources(service.resources))),
        ],
    )


def _start(service: ServiceBlueprint) -> str:
    """What is declared of the cold start; nothing where that is left to modalkit."""
    declared = service.cold_start
    return declared.words() if declared.model_fields_set else ""


def _recipe(engine: EngineUse | None) -> str:
    """What a recipe decided, and what else it says to think of."""
    if engine is None or engine.recipe is None:
        return ""
    recipe = engine.recipe
    decided = ", ".join(f"{name}={value!r}" for name, value in recipe.fields.items())
    other = ", ".join(f"{name}={value!r}" for name, value in recipe.overridden.items())
    notes = "".join(f"\n{' ' * 14}{note}" for note in recipe.notes)
    instead = f"; your declaration stands instead of {other}" if other else ""
    return f"{recipe.title}: {decided or 'nothing that is not declared'}{instead}{notes}"


def _function(function: FunctionBlueprint, console: Console) -> None:
    console.print(f"\n  [bold cyan]{escape(function.name)}[/] a plain Modal {function.kind}")
    web = {"none": "", "proxy tokens": "HTTP, Modal proxy tokens", "anyone": "HTTP, open to anyone"}
    times = f"timeout {function.timeout} s"
    if function.startup_timeout:
        times += f", {function.startup_timeout} s to start"
    if function.retries:
        times += f", {function.retries} retries"
    _rows(
        console,
        [
            ("gpu", escape(", else ".join(function.gpus))),
            ("schedule", escape(function.schedule or "")),
            ("volumes", escape(_volumes(function.volumes))),
            ("secrets", escape(_secrets(function.secrets))),
            ("endpoint", web[function.web]),
            ("methods", escape(", ".join(function.methods))),
            ("cluster", cluster_words(function)),
            ("limits", f"{function.concurrency} input(s) at a time, {times}"),
            ("resources", escape(_resources(function.resources))),
            ("not shown", f"[dim]{'; '.join(function.not_shown)}[/]"),
        ],
    )


# ── memory ──────────────────────────────────────────────────────────────────────────────────────


def _memory_rows(service: ServiceBlueprint) -> list[tuple[str, str]]:
    if not service.memory:
        return (
            [("memory", f"[yellow]unknown[/]: {escape(service.unsized)}")] if service.gpus else []
        )
    rows = [
        ("memory" if number == 0 else "", _bar(one)) for number, one in enumerate(service.memory)
    ]
    first = service.memory[0]
    load = f"for {first.concurrency} requests of {first.context:,} tokens"
    most = f"up to {first.largest_concurrency:,} of them, or {first.largest_context:,} tokens each"
    told = f"told: {', '.join(first.told)}" if first.told else ""
    uncounted = [("", f"[yellow]{escape(line)}[/]") for line in first.uncounted]
    return [
        *rows,
        ("", f"{load}; holds {most}" if not first.problem else load),
        ("", escape(told)),
        *uncounted,
    ]


def _speed_rows(service: ServiceBlueprint) -> list[tuple[str, str]]:
    """The estimate for the load above on the first choice; nothing where that does not work."""
    works = [one for one in service.memory[:1] if not one.problem]
    return [("speed", _speed(one)) for one in works]


def _speed(memory: Memory) -> str:
    """Both figures, each with its own mark."""
    slow, fast = memory.tokens_per_s
    text = f"about {slow:,.0f} to {fast:,.0f} tokens/s in all{_mark(memory.tokens_checked)}"
    if memory.first_token_s is None:
        return text
    soonest, latest = memory.first_token_s
    first = f"first token of a full prompt after {soonest:.2g} to {latest:.2g} s"
    return f"{text}; {first}{_mark(memory.first_token_checked)}"


def _mark(checked: bool) -> str:
    return "" if checked else " [dim](estimated, not measured)[/]"


def _passed_over_rows(service: ServiceBlueprint) -> list[tuple[str, str]]:
    return [("", f"[dim]not {escape(line)}[/]") for line in service.passed_over]


def _bar(memory: Memory) -> str:
    """One GPU's memory as a bar, a shade for each line, with its legend."""
    whole = max(memory.total_bytes, memory.total_bytes - memory.free_bytes)
    bar, legend = "", []
    for number, line in enumerate(memory.lines):
        shade = _SHADES[number % len(_SHADES)]
        bar += shade * max(1, round(_BAR * line.bytes / whole))
        legend.append(f"{shade} {escape(line.what)} {line.bytes / GIB:.1f}")
    used = (memory.total_bytes - memory.free_bytes) / GIB
    state = f"{used:.1f} of {memory.total_bytes / GIB:.1f} GiB"
    verdict = (
        f"[red]does not work: {escape(memory.problem)}[/]"
        if memory.problem
        else f"[green]fits[/], {memory.free_bytes / GIB:.1f} free"
    )
    return f"{escape(memory.gpu):<12} {bar[:_BAR]:·<{_BAR}} {state}, {verdict}  [dim]{', '.join(legend)}[/]"


# ── what it is made of ──────────────────────────────────────────────────────────────────────────


def _image_rows(image: ImageUse) -> list[tuple[str, str]]:
    layers = [("", f"+ {escape(layer)}") for layer in image.layers]
    return [("image", escape(image.base)), *layers]


def _volumes(volumes: Iterable[VolumeUse]) -> str:
    return ", ".join(
        f"{one.name} at {one.mount}{' (read only)' if one.read_only else ''}" for one in volumes
    )


def _secrets(secrets: Iterable[SecretUse]) -> str:
    return ", ".join(
        f"{one.name} ({', '.join(one.keys)})" if one.keys else one.name for one in secrets
    )


def _endpoint(endpoint: EndpointUse | None) -> str:
    if endpoint is None:
        return "none: remote methods only"
    parts = [
        f"{endpoint.kind}, {endpoint.path}",
        f"for {endpoint.auth}" if endpoint.public else endpoint.auth,
    ]
    if endpoint.routes:
        parts.append(f"routes {', '.join(endpoint.routes)}")
    if endpoint.origins:
        parts.append(f"pages of {', '.join(endpoint.origins)}")
    if endpoint.label:
        parts.append(f"label {endpoint.label}")
    if endpoint.region:
        parts.append(f"routed through {endpoint.region}")
    return "; ".join(parts)


def _scaling(scaling: Scaling, concurrency: int) -> str:
    least, most = scaling.min_containers, scaling.max_containers
    parts = [f"{least} containers or more" if most is None else f"{least} to {most} containers"]
    if scaling.buffer_containers:
        parts.append(f"{scaling.buffer_containers} spare")
    parts.append("one for every input" if scaling.single_use else f"{concurrency} inputs each")
    parts.append(f"idle for {scaling.scaledown_window} s")
    parts.append(f"timeout {scaling.timeout} s, {scaling.startup_timeout} s to start")
    if scaling.retries:
        parts.append(f"{scaling.retries} retries")
    return ", ".join(parts)


def _resources(resources: Resources | ResourceUse) -> str:
    parts = []
    if resources.cpu is not None:
        parts.append(f"{_amount(resources.cpu)} cores")
    if resources.memory_mib is not None:
        parts.append(f"{_amount(resources.memory_mib)} MiB of memory")
    if resources.disk_mib is not None:
        parts.append(f"{resources.disk_mib:,} MiB of disk")
    if resources.region:
        parts.append(f"in {' or '.join(resources.region)}")
    if resources.cloud:
        parts.append(f"on {resources.cloud}")
    if resources.nonpreemptible:
        parts.append("never moved")
    return ", ".join(parts)


def _amount(amount: float | tuple[float, float]) -> str:
    if isinstance(amount, tuple):
        return f"{amount[0]:g} to {amount[1]:g}"
    return f"{amount:g}"


# ── what changes ────────────────────────────────────────────────────────────────────────────────


def _comparison(comparison: Comparison, traffic: Traffic | None, console: Console) -> None:
    console.print(f"[bold]Changes since {escape(comparison.against)}[/]")
    for name in comparison.added:
        console.print(f"  [green]+ {escape(name)}[/]")
    for name in comparison.removed:
        console.print(f"  [red]- {escape(name)}[/]")
    for change in comparison.changes:
        console.print(f"  ~ {_change(change)}")
    for price in comparison.prices:
        sign = "+" if price.difference > 0 else "-"
        console.print(
            f"  $ {escape(price.of)}: {price.what} {usd(price.before)} to {usd(price.after)} "
            f"({sign}{usd(abs(price.difference))})"
        )
    if comparison.prices:
        console.print(f"  [dim]prices then: {escape(comparison.priced_by)}[/]")
    if comparison.traffic != traffic and comparison.traffic is not None:
        console.print(f"  [dim]months then: under {escape(comparison.traffic.words())}[/]")
    if not (comparison.added or comparison.removed or comparison.changes or comparison.prices):
        console.print("  nothing")
    if comparison.restarts:
        console.print(f"  new containers for {escape(', '.join(comparison.restarts))}")
    console.print()


def _change(change: Change) -> str:
    return f"{escape(change.of)}: {change.field} [red]{escape(change.before)}[/] to [green]{escape(change.after)}[/]"


# ── the price ───────────────────────────────────────────────────────────────────────────────────


def _prices(report: PlanReport, console: Console) -> None:
    if not any((app.services or app.functions) for app in report.plan.apps):
        return
    columns = price_columns(report)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("USD", no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for service in report.plan.services:
        cells = (column.of(service.price) for column in columns)
        table.add_row(escape(service.name), *cells)
    for app in report.plan.apps:
        for function in app.functions:
            cells = (column.of_function(function) for column in columns)
            table.add_row(escape(function.name), *cells)
    console.print(table, soft_wrap=False, width=_WIDEST)
    for note in _all_notes(report):
        console.print(f"[yellow]Note:[/] {escape(note)}")


def _all_notes(report: PlanReport) -> Iterator[str]:
    for service in report.plan.services:
        yield from _notes(service)
    for app in report.plan.apps:
        for function in app.functions:
            if function.container.unpriced:
                yield f"no price is known of {', '.join(function.container.unpriced)}"


def _notes(service: ServiceBlueprint) -> Iterator[str]:
    """What a reader of a service's price should know."""
    if service.memory and service.memory[0].problem:
        first = service.memory[0]
        yield f"{service.name} does not work on {first.gpu}: {first.problem}"
    if service.unpriced_month:
        yield f"no month for {service.name}: {service.unpriced_month}"
    if service.price.speed_source:
        yield f"the speed of {service.name} is {service.price.speed_source}"
    if service.price.month is not None and service.price.month.overloaded:
        yield f"{service.name} cannot answer this traffic with max_containers={service.scaling.max_containers}"
    if service.price.container.unpriced:
        yield f"no price is known of {', '.join(service.price.container.unpriced)}"


def _last_line(report: PlanReport) -> str:
    together = report.total
    functions = [one for app in report.plan.apps for one in app.functions]
    least = usd(together.least_hour)
    if not report.plan.services and not functions:
        return "$0: nothing is deployed. What the entrypoints start, Sandboxes too, is not known beforehand."
    if not report.plan.services:
        dearest = max(functions, key=lambda one: one.usd_per_hour)
        what = "cluster" if (dearest.cluster or 1) > 1 else "container"
        known = f"{usd(dearest.usd_per_hour)} an hour for the dearest {what}, how many is not known"
        return f"{known}. {report.plan.prices}; use beyond the request is billed too."
    if together.most_hour is None:
        parts = [f"{least} an hour at rest, no limit at work"]
    else:
        parts = [f"{least} to {usd(together.most_hour)} an hour"]
    if report.traffic is not None:
        asked = f"{report.traffic.requests_per_day:,.0f} requests a day"
        without = f" without {', '.join(together.unpriced)}" if together.unpriced else ""
        if together.month is None:
            parts.append("no month is known")
        else:
            parts.append(f"{usd_range(*together.month)} a month under {asked}{without}")
    if functions:
        parts.append("plain functions besides")
    return f"{'; '.join(parts)}. {report.plan.prices}; use beyond the request is billed too."
