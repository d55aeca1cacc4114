"""The first page: apps, what runs, what was called last; and the page of one app."""

from __future__ import annotations

from urllib.parse import quote

from ..apps.apps import App
from ..apps.functions import FunctionEntry
from ..protocol import api
from .markup import Markup, el, joined
from .parts import (
    app_badge,
    calls_table,
    card,
    containers_table,
    empty,
    log_card,
    phase_legend,
    since,
    table,
)
from .sources import Sources, state_of

__all__ = ["app_page", "overview_page"]

_SHOWN_CALLS = 12


def overview_page(sources: Sources) -> Markup:
    """Show every app, every container and the last calls."""
    return joined(
        [
            el("header", el("h1", "Apps"), class_="page"),
            el("div", _tiles(sources), class_="tiles", data_live="tiles"),
            card("Apps", _apps(sources), live="apps"),
            card(
                "Containers",
                containers_table(sources.containers()),
                right=phase_legend(),
                live="containers",
            ),
            card(
                "Last calls",
                calls_table(list(sources.calls.recent)[-_SHOWN_CALLS:]),
                right=el("a", "All calls", href="/calls", class_="button"),
                live="calls",
            ),
        ]
    )


def _tiles(sources: Sources) -> Markup:
    containers = sources.containers()
    recent = sources.calls.recent
    failed = sum(call.status != "success" for call in recent)
    waiting = sum(pool.demand for app in sources.apps.all() for pool in app.pools)
    told = (
        (sum(not app.over for app in sources.all_apps()), "apps", False),
        (len(containers), "containers", False),
        (int(waiting), "inputs in hand", False),
        (len(recent), "finished calls", False),
        (failed, "of them failed", bool(failed)),
    )
    return joined(
        el("div", el("b", str(count)), el("span", what), class_="tile bad" if bad else "tile")
        for count, what, bad in told
    )


def _apps(sources: Sources) -> Markup:
    rows = [
        [
            el("a", app.label, href=f"/apps/{app.id}", class_="name"),
            app_badge(app),
            app.environment,
            f"v{app.version}" if app.name else "-",
            since(app.deployed_at or app.created_at),
            str(len(app.functions)),
            str(sum(len(pool.containers) for pool in app.pools)),
        ]
        for app in sources.all_apps()
    ]
    heads = ("App", "State", "Environment", "Version", "Since", "Functions#", "Containers#")
    return table(heads, rows, empty("No app yet. Try", "modal run app.py"))


def app_page(sources: Sources, app: App) -> Markup:
    """Show one app: functions, containers, calls and its log."""
    containers = [one for one in sources.containers() if one.function.app is app]
    calls = [call for call in sources.calls.recent if call.app == app.label]
    parts = [
        _app_head(app),
        card("Functions", _functions(app), live="functions"),
        card("Containers", containers_table(containers), right=phase_legend(), live="containers"),
        log_card("Log", f"/api/logs?app={quote(app.id)}&follow=1"),
        card("Calls", calls_table(calls[-_SHOWN_CALLS:], with_app=False), live="calls"),
    ]
    return joined(parts)


def _app_head(app: App) -> Markup:
    version = f"version {app.version}, deployed " if app.name else "started "
    stop = el(
        "button",
        "Stop",
        type="button",
        data_action="/actions/stop",
        data_app=app.id,
        data_ask=f"Stop {app.label}? Its containers end; a deployed app is gone until the next deploy.",
    )
    return el(
        "header",
        el("span", el("a", "Apps", href="/"), " / ", app.environment, class_="crumb"),
        el("h1", app.label),
        el("span", app_badge(app), data_live="state"),
        el("span", version, since(app.deployed_at or app.created_at), class_="sub"),
        el("span", app.id, class_="id"),
        "" if app.over else stop,
        class_="page",
    )


def _functions(app: App) -> Markup:
    rows = [
        [
            el("span", function.name, class_="name"),
            _kind(function),
            _scaling(function),
            str(sum(len(pool.containers) for pool in function.pools)),
            joined(
                el("div", el("a", endpoint.url, href=endpoint.url, class_="mono", rel="noreferrer"))
                for endpoint in function.endpoints.values()
            ),
        ]
        for function in app.functions.values()
    ]
    nothing = empty(
        "Asleep on disk: it wakes when it is called."
        if state_of(app) == "deployed"
        else "No function was created."
    )
    return table(("Function", "Kind", "Scaling", "Containers#", "Endpoints"), rows, nothing)


def _kind(function: FunctionEntry) -> Markup:
    definition = function.definition
    words = ["function"]
    if definition.is_server:
        words = ["server"]
    elif definition.is_class:
        words = ["class"]
    if definition.HasField("schedule"):
        words.append("scheduled")
    if gpu := definition.resources.gpu_config.gpu_type:
        words.append(f"GPU {gpu}")
    return el("span", *(part for word in words for part in (el("span", word, class_="tag"), " ")))


def _scaling(function: FunctionEntry) -> str:
    settings: api.AutoscalerSettings = function.definition.autoscaler_settings
    limits = f"{settings.min_containers} to {settings.max_containers or 'any'}"
    inputs = function.definition.max_concurrent_inputs
    return f"{limits}, {inputs} inputs each" if inputs > 1 else limits
