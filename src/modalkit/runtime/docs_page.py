"""The page that shows a service's routes and lets a person try them.

The page itself says nothing about the service: it asks for the schema with the visitor's key, so
it can be open where the routes are not. Nothing is loaded from outside.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["docs_page"]


@cache
def docs_page() -> str:
    """Return the page's HTML; it reads ``openapi.json`` beside itself."""
    return (files("modalkit") / "data" / "docs.html").read_text("utf-8")
