"""What a browser sees at the plane's address: plain text, until there is more to show."""

from __future__ import annotations

import platform

from .apps import App, Apps
from .protocol import MODAL_VERSION, api

__all__ = ["overview"]


def overview(apps: Apps) -> str:
    """Return a page that lists the apps, their functions and where they answer."""
    lines = [
        "modalkit's local Modal",
        f"modal {MODAL_VERSION}, functions run on Python {platform.python_version()}",
        "",
    ]
    for app in reversed(apps.all()):
        lines += [_heading(app), *_functions(app), ""]
    return "\n".join(lines)


def _heading(app: App) -> str:
    state = api.AppState.Name(app.state).removeprefix("APP_STATE_").lower()
    return f"{app.label}  ({state}, {app.id})"


def _functions(app: App) -> list[str]:
    lines = []
    for function in app.functions.values():
        containers = sum(len(pool.containers) for pool in function.pools)
        urls = " ".join(endpoint.url for endpoint in function.endpoints.values())
        lines.append(f"  {function.name}  {containers} container(s)  {urls}".rstrip())
    return lines
