"""The pages from which things are started: endpoints to try, schedules to fire."""

from __future__ import annotations

import time

from ..apps.functions import FunctionEntry
from ..protocol import api
from ..wording import rough
from .markup import Markup, el, joined
from .parts import badge, card, empty, table
from .sources import Sources

__all__ = ["endpoints_page", "schedules_page"]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


def endpoints_page(sources: Sources) -> Markup:
    """List the open web endpoints, each with a form to try it."""
    forms = [_endpoint(*one) for one in sources.endpoints()]
    body = joined(forms) if forms else empty("No web endpoint is open. Try", "modal serve app.py")
    head = el("header", el("h1", "Endpoints"), class_="page")
    return joined([head, card("Web endpoints", body, about="open one to send it a request")])


def _endpoint(function: FunctionEntry, method: str, url: str) -> Markup:
    name = f"{function.name}.{method}" if method else function.name
    config = _config(function, method)
    locked = config.requires_proxy_auth
    summary = el(
        "summary",
        el("span", name, class_="name"),
        el("span", function.app.label, class_="sub"),
        badge("proxy token", "warn") if locked else "",
        el("span", el("a", url, href=url, class_="mono", rel="noreferrer"), class_="right"),
    )
    return el("details", summary, _form(url, config.method or "GET"), data_key=url)


def _config(function: FunctionEntry, method: str) -> api.WebhookConfig:
    definition = function.definition
    found: api.WebhookConfig = (
        definition.method_definitions[method].webhook_config
        if method
        else definition.webhook_config
    )
    return found


def _form(url: str, usual: str) -> Markup:
    methods = (el("option", one, selected=one == usual) for one in _METHODS)
    return el(
        "form",
        el(
            "div",
            el("select", *methods, name="method", aria_label="Method"),
            el("input", name="path", value="/", class_="grow", aria_label="Path and query"),
            el("button", "Send", class_="primary"),
            class_="row",
        ),
        el(
            "textarea",
            name="body",
            placeholder='Body, such as {"number": 3}; sent as JSON when it is that',
            aria_label="Body",
        ),
        el("input", type="hidden", name="url", value=url),
        el("div", class_="answer", hidden=True, aria_live="polite"),
        class_="try",
    )


def schedules_page(sources: Sources) -> Markup:
    """List the schedules of deployed apps with a button each."""
    rows = [
        [
            el("span", f"{one.app}::{one.function}", class_="name"),
            el("code", one.schedule),
            one.environment,
            el(
                "time",
                f"in {rough(max(0.0, one.next_at.timestamp() - time.time()))}",
                title=one.next_at.isoformat(sep=" ", timespec="seconds"),
            ),
            _fire_button(f"{one.app}::{one.function}", one.environment),
        ]
        for one in sources.schedules.upcoming()
    ]
    heads = ("Schedule", "Fires", "Environment", "Next", "")
    nothing = empty("Nothing is scheduled. A deployed function with schedule=modal.Cron(...) is.")
    missed = [
        [
            f"{one.app}::{one.function}",
            str(one.count),
            el("time", f"{one.last_at:%Y-%m-%d %H:%M:%S} UTC"),
            one.reason,
        ]
        for one in reversed(sources.schedules.missed)
    ]
    parts = [
        el("header", el("h1", "Schedules"), class_="page"),
        card("Next firings", table(heads, rows, nothing), live="upcoming"),
    ]
    if missed:
        body = table(("Schedule", "Times#", "Last due", "Why"), missed, empty(""))
        parts.append(card("Missed", body, live="missed"))
    return joined(parts)


def _fire_button(name: str, environment: str) -> Markup:
    return el(
        "button",
        "Fire now",
        type="button",
        data_action="/actions/fire",
        data_name=name,
        data_environment=environment,
    )
