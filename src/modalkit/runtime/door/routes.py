"""Which paths of an engine are for clients, however a path is spelt."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

__all__ = ["is_client_route"]

# The id of a model may hold slashes (``/v1/models/Qwen/Qwen3-8B``), but nothing that an HTTP client
# or server would read as another path: no empty or dotted part, no percent sign, ``?`` or ``#``.
_MODEL_ROUTE = re.compile(r"/v1/models(/(?!\.{1,2}(/|\Z))[\w.:@+-]+)+", re.ASCII)


def is_client_route(path: str, routes: AbstractSet[str]) -> bool:
    """Whether a decoded path is a route for clients, however it would be decoded again."""
    return path in routes or (path.startswith("/v1/models/") and bool(_MODEL_ROUTE.fullmatch(path)))
