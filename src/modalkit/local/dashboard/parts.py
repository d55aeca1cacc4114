"""Pieces that several pages show: cards, tables, badges, bars."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ..apps.apps import App
from ..calls.calls import CallRecord
from ..containers.container import Container
from ..wording import lasted, rough, sized
from .markup import Markup, el, joined
from .sources import state_of

__all__ = [
    "app_badge",
    "badge",
    "calls_table",
    "card",
    "containers_table",
    "empty",
    "log_card",
    "phase_legend",
    "since",
    "table",
]

_GOOD, _WARN, _BAD, _INFO = "good", "warn", "bad", "info"
_STATES = {"deployed": _GOOD, "ephemeral": _INFO, "detached": _INFO, "stopping": _WARN}
_PHASES = ("process", "hello", "ready")
_PHASE_WORDS = {
    "process": "process",
    "hello": "Python and modal",
    "ready": "your imports and enter",
}


def card(
    title: str, body: Markup, *, about: str = "", right: str = "", live: str | None = None
) -> Markup:
    """Return a titled box; ``live`` names it for the script that keeps it up to date."""
    head = el("header", el("h2", title), el("span", about, class_="sub") if about else "")
    if right:
        head = el(
            "header",
            el("h2", title),
            el("span", about, class_="sub") if about else "",
            el("div", right, class_="right"),
        )
    return el("section", head, el("div", body, data_live=live), class_="card")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], nothing: Markup) -> Markup:
    """Return a table, or ``nothing`` when it has no rows. A head that ends in ``#`` is of numbers."""
    kinds = ["num" if head.endswith("#") else None for head in heads]
    names = [head.removesuffix("#") for head in heads]
    body = [
        el(
            "tr",
            *(
                el("td", cell, class_=kind, data_label=name)
                for cell, kind, name in zip(row, kinds, names, strict=True)
            ),
        )
        for row in rows
    ]
    if not body:
        return nothing
    head = (
        el("th", name, class_=kind, scope="col") for name, kind in zip(names, kinds, strict=True)
    )
    whole = el("table", el("thead", el("tr", *head)), el("tbody", *body))
    return el("div", whole, class_="scroll")


def empty(text: str, command: str = "") -> Markup:
    """Say that there is nothing yet, and what would bring something."""
    return el("div", text, *([" ", el("code", command)] if command else []), class_="empty")


def badge(text: str, kind: str = "") -> Markup:
    """Return a word with a coloured dot: good, warn, bad, info or plain."""
    return el("span", text, class_=f"badge {kind}".strip())


def app_badge(app: App) -> Markup:
    """Return an app's state."""
    state = state_of(app)
    return badge(state, _STATES.get(state, ""))


def since(moment: float) -> Markup:
    """Return how long ago a moment was, with the exact time on hover."""
    if not moment:
        return Markup("-")
    exact = datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    return el("time", f"{rough(max(0.0, time.time() - moment))} ago", title=exact)


def calls_table(calls: Sequence[CallRecord], *, with_app: bool = True) -> Markup:
    """Return finished calls, the newest first."""
    heads = ["Function", "App", "Started", "Took#", "Outcome"]
    rows = [
        [
            el("span", call.function, class_="name"),
            call.app,
            since(call.started_at),
            lasted(call.duration_s),
            _outcome(call),
        ]
        for call in reversed(calls)
    ]
    if not with_app:
        heads.remove("App")
        rows = [[row[0], *row[2:]] for row in rows]
    return table(heads, rows, empty("No call has finished yet."))


def _outcome(call: CallRecord) -> Markup:
    fine = call.status == "success"
    told = badge(call.status, _GOOD if fine else _BAD)
    return joined([told, el("div", call.error, class_="error")]) if call.error else told


def containers_table(containers: Sequence[Container]) -> Markup:
    """Return live containers with what their cold start spent its time on."""
    rows = [
        [
            joined(
                [
                    el("div", container.function.name, class_="name"),
                    el("span", container.id, class_="id"),
                ]
            ),
            _container_badge(container),
            _phase_bar(container.phases),
            sized(memory) if (memory := container.memory_bytes) else "-",
            str(container.load),
            since(container.started_at),
        ]
        for container in containers
    ]
    heads = ("Container", "State", "Cold start", "Memory#", "Inputs#", "Started")
    return table(heads, rows, empty("No container is running; one starts with the next call."))


def _container_badge(container: Container) -> Markup:
    if container.stopping or container.retiring:
        return badge("ending", _WARN)
    if not container.ready:
        return badge("starting", _INFO)
    return badge("busy", _GOOD) if container.load else badge("idle")


def _phase_bar(phases: dict[str, float]) -> Markup:
    """Draw the moments a container reached, in seconds since its start, as lengths."""
    pieces, told, before = [], [], 0.0
    total = max(phases.values(), default=0.0)
    for name in _PHASES:
        if name in phases and total:
            length = max(phases[name] - before, 0.0)
            before = max(before, phases[name])
            pieces.append(el("i", class_=name, style=f"width:{100 * length / total:.1f}%"))
            told.append(f"{_PHASE_WORDS[name]} {lasted(length)}")
    if not pieces:
        return Markup("-")
    bar = el("span", *pieces, class_="bar", role="img", aria_label=", ".join(told))
    return el(
        "div", bar, el("span", lasted(total), class_="mono"), class_="phases", title=", ".join(told)
    )


def phase_legend() -> Markup:
    """Say what the colours of the cold start's bar are."""
    return el(
        "span",
        *(el("span", el("i", class_=name), _PHASE_WORDS[name]) for name in _PHASES),
        class_="legend",
    )


def log_card(title: str, url: str, *, names: bool = False, tall: bool = False) -> Markup:
    """Return a box that follows a log."""
    filters = joined(
        [
            el(
                "input",
                type="search",
                placeholder="Filter",
                aria_label="Filter the log",
                data_filter=True,
            ),
            el(
                "label",
                el("input", type="checkbox", checked=True, data_follow=True),
                "Follow",
                class_="check",
            ),
        ]
    )
    log = el(
        "div",
        el("div", "Waiting for the first line…", class_="none"),
        class_="log tall" if tall else "log",
        data_url=url,
        data_names=names,
        tabindex="0",
        role="log",
        aria_label=title,
    )
    return card(title, log, right=filters)
