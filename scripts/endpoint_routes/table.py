"""What an answer says of who gave it, and the table of the docs made from answers."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

__all__ = [
    "CALLERS",
    "DATA",
    "MODES",
    "Answers",
    "Table",
    "every_name",
    "rendered",
    "verdict",
    "write_page",
]

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "docs" / "endpoint_routes.json"
_PAGE = ROOT / "docs" / "endpoint-routes.md"
_BEGIN, _END = "<!-- begin: scripts/endpoint_routes/ask.py -->\n", "<!-- end -->\n"

MODES = ("tokens", "keys", "both", "public")
CALLERS = ("stranger", "tokens", "key", "both")

# For each route what each caller gets, in the order of CALLERS.
Answers = dict[str, list[str]]
# By engine, then by kind and mode: ``web-keys``.
Table = dict[str, dict[str, Answers]]


def every_name() -> list[str]:
    """Each kind of endpoint with each way to be let in."""
    return [f"{kind}-{mode}" for kind in ("web", "server") for mode in MODES]


def verdict(answer: httpx.Response) -> str:
    """Who answered: Modal's edge, the door (its status alone), or what stands behind it."""
    if "x-request-id" not in answer.headers:
        return f"Modal {answer.status_code}"
    try:
        error = json.loads(answer.content)["error"]
        ours = {"invalid_api_key": 401, "not_found": 404}.get(error["code"])
    except (ValueError, KeyError, TypeError):
        return "reached"
    says_route = answer.status_code == 401 or error["message"].endswith(" here.")  # noqa: PLR2004
    return str(ours) if ours == answer.status_code and says_route else "reached"


_WORDS = {"reached": "yes", "401": "401", "404": "404", "Modal 401": "401 by Modal"}
_HOW = {"vLLM": "asked", "SGLang": "read", "Transformers": "asked", "Echo": "asked"}
_HEAD = ("`ProxyAuth()`", "`BearerKeys()`", "both", "`public=True`")


def write_page(table: Table) -> None:
    """Put the table between its two marks."""
    before, _, rest = _PAGE.read_text("utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    _PAGE.write_text(f"{before}{_BEGIN}{rendered(table)}{_END}{after}", "utf-8")


def rendered(table: Table) -> str:
    """A table for each engine: groups of routes that fare alike."""
    parts = []
    for engine, how in _HOW.items():
        parts.append(f"\n**{engine}** ({how})\n\n")
        parts.append("| route | " + " | ".join(_HEAD) + " |\n|---|---|---|---|---|\n")
        for cells, routes in _groups(table[engine]).items():
            parts.append(f"| {_named(routes)} | {' | '.join(cells)} |\n")
    return "".join(parts) + "\n"


def _groups(modes: dict[str, Answers]) -> dict[tuple[str, ...], list[str]]:
    """Routes by what they answer; both kinds of endpoint must agree, or each says its own."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for route in sorted(next(iter(modes.values()))):
        cells = tuple(_cell(modes, mode, route) for mode in MODES)
        grouped.setdefault(cells, []).append(route)
    return grouped


def _cell(modes: dict[str, Answers], mode: str, route: str) -> str:
    web, server = (_said(modes.get(f"{kind}-{mode}", {}).get(route)) for kind in ("web", "server"))
    return web if web == server else f"web: {web}; server: {server}"


def _said(answers: list[str] | None) -> str:
    """``401 -> yes``: a stranger, and whoever has all that is asked for."""
    if answers is None:
        return "not asked"
    stranger, full = (_WORDS.get(one, one) for one in (answers[0], answers[-1]))
    return full if stranger == full else f"{stranger} / {full}"


def _named(routes: list[str]) -> str:
    return ", ".join(f"`{route.split(' ')[1]}`" for route in routes)
