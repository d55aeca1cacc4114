"""The dashboard's routes."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass

from aiohttp import hdrs, web
from grpclib.exceptions import GRPCError

from ...errors import LocalModalError
from ..apps.apps import App
from .actions import act
from .activity import calls_page, logs_page
from .builds import images_page
from .calling import endpoints_page, schedules_page
from .guard import Guard
from .layout import bare_page, page
from .log_lines import Line, follow, tail
from .markup import Markup, el, joined
from .overview import app_page, overview_page
from .sources import Sources
from .storage import is_plain, storage_page, volume_page

__all__ = ["Dashboard"]

_DEFAULT_LINES = 500
_LOCKED = (
    "This page shows what runs here, so it wants to know that it is you. Open the address with the "
    "token in it, which these commands print: "
)
_Shown = tuple[str, str, Markup]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Serves the dashboard: pages, logs as they come, and what its buttons do."""

    sources: Sources
    guard: Guard

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if not self.guard.is_here(request):
            return web.Response(status=421, text="This address is not the local Modal's.")
        if self.guard.shows_token(request) and request.method == hdrs.METH_GET:
            return self._welcome(request)
        if not self.guard.knows(request):
            return self._locked()
        try:
            return await self._answer(request)
        except GRPCError as error:  # the plane's parts refuse so what is not there
            return self._page(404, ("Not found", "", _sorry(error.message or "")))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        kind, _, name = request.path.strip("/").partition("/")
        if kind == "actions":
            return await self._act(request, name)
        if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
            return web.Response(status=405, text="This page is only read.")
        if request.path == "/api/logs":
            return await self._logs(request)
        if kind == "volumes" and name.endswith("/download"):
            return self._download(name.removesuffix("/download"), request.query.get("path", ""))
        shown = self._shown(kind, name, request)
        if shown is None:
            return self._page(404, ("Not found", "", _sorry(f"There is no page {request.path}.")))
        return self._page(200, shown)

    def _shown(self, kind: str, name: str, request: web.BaseRequest) -> _Shown | None:
        """Return a page's title, its entry in the navigation and its body."""
        sources = self.sources
        match kind, name:
            case "", "":
                return "Apps", "/", overview_page(sources)
            case "apps", app_id if (app := sources.app(app_id)) is not None:
                return app.label, "/", app_page(sources, app)
            case "calls", "":
                failed = "failed" in request.query
                return "Calls", "/calls", calls_page(sources, failed_only=failed)
            case "logs", "":
                return "Logs", "/logs", logs_page()
            case "endpoints", "":
                return "Endpoints", "/endpoints", endpoints_page(sources)
            case "schedules", "":
                return "Schedules", "/schedules", schedules_page(sources)
            case "storage", "":
                return "Storage", "/storage", storage_page(sources)
            case "volumes", volume_id if volume_id and "/" not in volume_id:
                path = request.query.get("path", "")
                return "Volume", "/storage", volume_page(sources, volume_id, path)
            case "images", "":
                return "Images", "/images", images_page(sources)
        return None

    def _page(self, status: int, shown: _Shown) -> web.Response:
        title, here, body = shown
        nonce = secrets.token_urlsafe(12)
        text = page(title, body, here=here, sources=self.sources, nonce=nonce)
        return _html(status, text, nonce)

    def _welcome(self, request: web.BaseRequest) -> web.Response:
        """Swap the token in an address for a cookie, so that it stays in no history."""
        rest = request.url.without_query_params("token").relative()
        response = web.Response(status=303, headers={hdrs.LOCATION: str(rest)})
        self.guard.remember(response)
        return response

    @staticmethod
    def _locked() -> web.Response:
        commands = [el("code", "modalkit local up"), " ", el("code", "modalkit local status")]
        nonce = secrets.token_urlsafe(12)
        return _html(401, bare_page("The local Modal", joined([_LOCKED, *commands]), nonce), nonce)

    async def _act(self, request: web.BaseRequest, name: str) -> web.Response:
        if request.method != hdrs.METH_POST or not self.guard.may_act(request):
            return web.json_response(
                {"error": "Only the dashboard's own page may do this."}, status=403
            )
        try:
            wanted = await request.json()
            told = await act(self.sources, name, {key: str(value) for key, value in wanted.items()})
        except (ValueError, AttributeError):
            return web.json_response({"error": "Send a JSON object."}, status=400)
        except LocalModalError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(told)

    def _download(self, volume_id: str, path: str) -> web.StreamResponse:
        if not is_plain(self.sources, volume_id, path):
            return web.Response(status=404, text="There is no such file in the volume.")
        place = self.sources.volumes.file(volume_id, path)
        # A page in a volume must not act as this dashboard: it is saved, never shown.
        headers = {
            hdrs.CONTENT_DISPOSITION: "attachment",
            hdrs.CONTENT_TYPE: "application/octet-stream",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        }
        return web.FileResponse(place, headers=headers)

    async def _logs(self, request: web.BaseRequest) -> web.StreamResponse:
        """Send logs: as server-sent events to a page, as text to a terminal."""
        wanted = request.query.get("app", "")
        try:
            count = int(request.query.get("lines", _DEFAULT_LINES))
        except ValueError:
            count = _DEFAULT_LINES
        if wanted and not self._apps(wanted):
            return web.json_response({"error": f"There is no app {wanted!r}."}, status=404)
        events = "text/event-stream" in request.headers.get(hdrs.ACCEPT, "")
        response = web.StreamResponse(headers={hdrs.CACHE_CONTROL: "no-store"})
        response.content_type = "text/event-stream" if events else "text/plain"
        await response.prepare(request)
        try:
            async with aclosing(self._lines(wanted, count, request)) as lines:
                async for line in lines:
                    await response.write((_event(line) if events else _text(line)).encode())
        except ConnectionError:
            return response  # whoever followed has left
        await response.write_eof()
        return response

    async def _lines(
        self, wanted: str, count: int, request: web.BaseRequest
    ) -> AsyncGenerator[Line, None]:
        if request.query.get("follow"):
            async with aclosing(follow(lambda: self._apps(wanted), count)) as lines:
                async for line in lines:
                    yield line
            return
        for app in reversed(self._apps(wanted)):
            for line in tail(app, count):
                yield line

    def _apps(self, wanted: str) -> list[App]:
        apps = self.sources.all_apps()
        return [app for app in apps if not wanted or wanted in {app.id, app.label}]


def _event(line: Line) -> str:
    return f"data: {json.dumps(asdict(line))}\n\n"


def _text(line: Line) -> str:
    return f"{line.app} | {line.text}\n"


def _sorry(text: str) -> Markup:
    return joined([el("header", el("h1", "Not here"), class_="page"), el("p", text)])


def _html(status: int, text: str, nonce: str) -> web.Response:
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        hdrs.CACHE_CONTROL: "no-store",
    }
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)
