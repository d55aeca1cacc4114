"""The page of image builds."""

from __future__ import annotations

from ..images import Build
from ..wording import lasted, sized
from .markup import Markup, el, joined
from .parts import badge, card, empty, since, table
from .sources import Sources

__all__ = ["images_page"]

_SHOWN_LINES = 400
_COLOURS = {"built": "good", "failed": "bad", "building": "info"}


def images_page(sources: Sources) -> Markup:
    """List the last image builds with their logs, and what images take on disk."""
    builds = [_build(build) for build in reversed(sources.images.builds.recent)]
    body = joined(builds) if builds else empty("No image was built since the local Modal started.")
    return joined(
        [
            el("header", el("h1", "Images"), class_="page"),
            card("Builds", body, live="builds"),
            card("On disk", _disk(sources), right=_prune_button(), live="disk"),
        ]
    )


def _build(build: Build) -> Markup:
    took = lasted(build.took_s) if build.took_s else "under way"
    summary = el(
        "summary",
        el("span", build.what, class_="name"),
        el("span", build.image_id, class_="id"),
        badge(build.status, _COLOURS[build.status]),
        el("span", took, ", ", since(build.started_at), class_="right"),
    )
    lines = "\n".join(build.log.tail(_SHOWN_LINES)) or "(nothing was printed)"
    error = el("div", build.error, class_="error") if build.error else ""
    return el("details", summary, error, el("pre", lines, class_="build"), data_key=build.image_id)


def _disk(sources: Sources) -> Markup:
    rows = [
        [
            el("span", use.image_id, class_="mono"),
            badge("built", "good") if use.built else badge("unfinished"),
            sized(use.bytes),
        ]
        for use in sources.images.usage()
    ]
    nothing = empty("No image needed anything that this machine's Python does not have.")
    return table(("Image", "State", "Size#"), rows, nothing)


def _prune_button() -> Markup:
    return el(
        "button",
        "Remove unused",
        type="button",
        data_action="/actions/prune",
        data_ask="Remove the builds of images that no function uses?",
    )
