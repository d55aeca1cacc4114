"""The page of image builds."""

from __future__ import annotations

from .markup import Markup, el, joined
from .parts import card, empty
from .sources import Sources

__all__ = ["images_page"]


def images_page(_sources: Sources) -> Markup:
    """List the last image builds with their logs."""
    head = el("header", el("h1", "Images"), class_="page")
    return joined([head, card("Builds", empty("No image was built yet."), live="builds")])
