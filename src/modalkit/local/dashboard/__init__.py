"""The dashboard: what runs in a plane, for a person with a browser.

Server-rendered pages with their style and one small script in them: nothing is built, nothing is
fetched from elsewhere, and without the script the pages still show everything but the logs.

    sources     what it reads of the plane
    guard       who may see it, and what may press its buttons
    site        its routes
    overview, activity, calling, storage, builds    its pages
    layout, parts, markup       what pages are made of
    actions, log_lines          what buttons do; logs as they come
"""

from __future__ import annotations

from .guard import Guard
from .site import Dashboard
from .sources import Sources

__all__ = ["Dashboard", "Guard", "Sources"]
