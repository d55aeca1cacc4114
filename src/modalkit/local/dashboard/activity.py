"""The pages of calls and logs."""

from __future__ import annotations

from .markup import Markup, el, joined
from .parts import calls_table, card, log_card
from .sources import Sources

__all__ = ["calls_page", "logs_page"]


def calls_page(sources: Sources, *, failed_only: bool) -> Markup:
    """Show the finished calls that the plane remembers."""
    calls = [one for one in sources.calls.recent if one.status != "success" or not failed_only]
    choices = joined(
        el("a", name, href=path, class_="button", aria_current="true" if chosen else None)
        for name, path, chosen in (
            ("All", "/calls", not failed_only),
            ("Failed", "/calls?failed=1", failed_only),
        )
    )
    return joined(
        [
            el(
                "header",
                el("h1", "Calls"),
                el("span", "the last 500 that ended", class_="sub"),
                class_="page",
            ),
            card("Finished calls", calls_table(calls), right=choices, live="calls"),
        ]
    )


def logs_page() -> Markup:
    """Follow what every app prints."""
    head = el("header", el("h1", "Logs"), el("span", "of every app", class_="sub"), class_="page")
    return joined([head, log_card("Output", "/api/logs?follow=1", names=True, tall=True)])
