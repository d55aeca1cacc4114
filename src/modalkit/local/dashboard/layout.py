"""The page around every page: navigation, style and script, all of it in one document."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..protocol import MODAL_VERSION
from .markup import Markup, el, joined
from .sources import Sources

__all__ = ["bare_page", "page"]

_LOGO = Markup(
    '<svg viewBox="0 0 26 26" aria-hidden="true"><rect width="26" height="26" rx="7" '
    'fill="var(--accent)"/><path d="M6.5 18V9.5L13 15l6.5-5.5V18" fill="none" '
    'stroke="var(--card)" stroke-width="2.6" stroke-linejoin="round" stroke-linecap="round"/></svg>'
)
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 26 26'%3E%3Crect "
    "width='26' height='26' rx='7' fill='%2317784a'/%3E%3Cpath d='M6.5 18V9.5L13 15l6.5-5.5V18' "
    "fill='none' stroke='white' stroke-width='2.6' stroke-linejoin='round'/%3E%3C/svg%3E"
)


def page(title: str, body: Markup, *, here: str, sources: Sources, nonce: str) -> str:
    """Return a whole page; ``here`` is the path of its entry in the navigation."""
    aside = el(
        "aside",
        el(
            "a",
            _LOGO,
            el("span", el("b", "Local Modal"), el("small", "on this machine")),
            href="/",
            class_="brand",
        ),
        el("nav", _links(here, sources), aria_label="Pages", data_live="nav"),
        el("footer", f"modal {MODAL_VERSION}", el("br"), str(sources.state)),
    )
    main = el("main", body, id="main")
    skip = el("a", "Skip to the content", href="#main", class_="skip")
    return _document(title, joined([skip, aside, main]), nonce)


def bare_page(title: str, text: Markup, nonce: str) -> str:
    """Return a page for somebody who may not see the others."""
    return _document(title, el("main", el("h1", title), el("p", text)), nonce)


def _document(title: str, body: Markup, nonce: str) -> str:
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title} · Local Modal"),
        el("link", rel="icon", href=_ICON),
        el("style", Markup(_asset("style.css"))),
    )
    script = el("script", Markup(_asset("live.js")), nonce=nonce)
    return f"<!doctype html>{el('html', head, el('body', body, script), lang='en')}"


def _links(here: str, sources: Sources) -> Markup:
    running = [app for app in sources.all_apps() if not app.over]
    places = (
        ("/", "Apps", len(running)),
        ("/calls", "Calls", len(sources.calls.recent)),
        ("/logs", "Logs", None),
        ("/endpoints", "Endpoints", sum(1 for _ in sources.endpoints())),
        ("/schedules", "Schedules", len(sources.schedules.upcoming())),
        ("/storage", "Storage", sum(map(len, map(sources.named, ("volume", "dict", "queue"))))),
        ("/images", "Images", None),
    )
    return joined(
        el(
            "a",
            name,
            el("span", str(count), class_="n") if count else "",
            href=path,
            aria_current="page" if path == here else None,
        )
        for path, name, count in places
    )


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")
