"""The dashboard: its pages, who may see them, what its buttons do, and how it looks in a browser."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

APPS = Path(__file__).parent / "apps"
COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE_S = 120

SHOP = """
import pathlib
import modal

app = modal.App("shop")
volume = modal.Volume.from_name("stock", create_if_missing=True)
secret = modal.Secret.from_name("till")

@app.function(volumes={"/stock": volume}, secrets=[secret])
def count(item: str) -> int:
    print(f"counting {item} <b>now</b>")
    pathlib.Path("/stock/deep").mkdir(exist_ok=True)
    pathlib.Path("/stock/deep/items.txt").write_text(item)
    pathlib.Path("/stock/deep/passwd").symlink_to("/etc/passwd")
    volume.commit()
    return len(item)

@app.function()
def broken() -> None:
    raise ValueError("the till is empty")

@app.function(schedule=modal.Cron("0 6 * * *"))
def open_up() -> None:
    print("good morning")

@app.function()
@modal.fastapi_endpoint(method="POST", requires_proxy_auth=True)
def order(item: dict) -> dict:
    return {"ordered": item["name"]}

@app.local_entrypoint()
def main() -> None:
    count.remote("teapots")
"""
CALL = """
import modal
modal.Function.from_name("shop", "count").remote("teapots")
try:
    modal.Function.from_name("shop", "broken").remote()
except ValueError:
    pass
"""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str


@dataclass(frozen=True)
class Site:
    """A running dashboard."""

    link: str
    state: Path

    @property
    def host(self) -> str:
        return urlsplit(self.link).netloc

    @property
    def token(self) -> str:
        return self.link.partition("token=")[2]

    def ask(self, path: str, *, body: object = None, **headers: str) -> Reply:
        """Send one request; with a body a POST."""
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE_S)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        payload = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, payload, named)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, told, answer.read().decode(errors="replace"))

    def page(self, path: str) -> str:
        """Return a page as its owner sees it."""
        reply = self.ask(path, Authorization=f"Bearer {self.token}")
        assert reply.status == 200, reply.text
        return reply.text

    def local(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``modalkit local ...`` against it."""
        return subprocess.run(
            [*COMMAND, "--state", str(self.state), *words],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A dashboard with a deployed app that has been called."""
    with tempfile.TemporaryDirectory(prefix="mk-dash-") as folder:
        empty = Site("", Path(folder) / "state")
        empty.local("up", "--detach")
        told = json.loads(empty.local("status", "--json").stdout)
        card = json.loads((empty.state / "plane.json").read_text())
        running = Site(f"{told['dashboard']}/?token={card['page_token']}", empty.state)
        (Path(folder) / "shop.py").write_text(SHOP)
        running.local("modal", "secret", "create", "till", "PIN=never-to-be-shown")
        deployed = running.local("modal", "deploy", f"{folder}/shop.py")
        assert deployed.returncode == 0, deployed.stderr
        called = running.local("python", "-c", CALL)
        assert called.returncode == 0, called.stderr
        running.local("modal", "dict", "create", "prices")
        running.local("modal", "queue", "create", "orders")
        yield running
        running.local("down")


def app_path(site: Site) -> str:
    apps = json.loads(site.local("status", "--json").stdout)["apps"]
    return f"/apps/{apps[0]['id']}"


def volume_path(site: Site) -> str:
    page = site.page("/storage")
    return page[page.index("/volumes/") :].partition('"')[0]


def test_the_first_page_shows_apps_containers_and_calls(site):
    """Apps with their state, containers with their start's phases, calls with their error."""
    page = site.page("/")
    for text in ("shop", "deployed", "count", "the till is empty", 'class="bar"', "MiB"):
        assert text in page


def test_an_apps_page_shows_its_functions(site):
    """Functions with kind, schedule and endpoint."""
    page = site.page(app_path(site))
    for text in ("open_up", "scheduled", "order", "http://127.0.0.1:"):
        assert text in page


def test_calls_can_be_narrowed_to_failed_ones(site):
    """The list of failed calls leaves out the successes."""
    assert "success" in site.page("/calls")
    failed = site.page("/calls?failed=1")
    assert "the till is empty" in failed
    assert ">success<" not in failed


def test_logs_come_as_they_are_printed(site):
    """The log's route gives the lines of an app; what looks like markup stays text."""
    assert "shop | counting teapots <b>now</b>" in site.page("/api/logs?app=shop")
    connection = http.client.HTTPConnection(site.host, timeout=PATIENCE_S)
    headers = {"Authorization": f"Bearer {site.token}", "Accept": "text/event-stream"}
    connection.request("GET", "/api/logs?app=shop&follow=1", headers=headers)
    events = connection.getresponse()
    assert json.loads(events.readline().removeprefix(b"data: "))["app"] == "shop"
    connection.close()


def test_secrets_are_named_and_never_shown(site):
    """A secret's name is on the page, its value on none."""
    assert "till" in site.page("/storage")
    for path in ("/", "/storage", "/calls", "/images", "/schedules", "/endpoints", app_path(site)):
        assert "never-to-be-shown" not in site.page(path)


def test_storage_lists_everything_by_name(site):
    """Volumes, dicts and queues are listed."""
    page = site.page("/storage")
    for name in ("stock", "prices", "orders"):
        assert name in page


def test_a_volumes_files_can_be_browsed_and_saved(site):
    """A folder lists its files; a file comes as a download that no browser would show."""
    volume = volume_path(site)
    assert "deep/" in site.page(volume)
    assert "items.txt" in site.page(f"{volume}?path=deep")
    reply = site.ask(f"{volume}/download?path=deep/items.txt", Authorization=f"Bearer {site.token}")
    assert reply.text == "teapots"
    assert reply.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "path",
    [
        "../../records.db",
        "deep/../../../records.db",
        "/etc/passwd",
        "deep/passwd",
        "deep",
        "%2e%2e/records.db",
        "nothing",
    ],
)
def test_no_path_leads_out_of_a_volume(site, path):
    """Neither dots nor a link in a volume give a file that is not the volume's."""
    reply = site.ask(
        f"{volume_path(site)}/download?path={path}", Authorization=f"Bearer {site.token}"
    )
    assert reply.status == 404
    assert "root:" not in reply.text


def test_without_the_token_there_is_nothing_to_see(site):
    """Every page asks for the token; a wrong one does not help."""
    for path in ("/", "/storage", "/api/logs", volume_path(site)):
        assert site.ask(path).status == 401
        assert site.ask(path, Authorization="Bearer wrong").status == 401
        assert site.ask(path, Cookie=f"modalkit_{site.host.partition(':')[2]}=wrong").status == 401


def test_the_link_is_swapped_for_a_cookie(site):
    """The printed address sets a cookie of its own and leaves no token in the address."""
    reply = site.ask(f"/?token={site.token}")
    assert reply.status == 303
    assert reply.headers["location"] == "/"
    cookie = reply.headers["set-cookie"]
    assert "SameSite=Strict" in cookie
    assert "HttpOnly" in cookie
    assert site.token not in cookie
    assert site.ask("/", Cookie=cookie.partition(";")[0]).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost:1", ""])
def test_another_name_for_this_machine_is_refused(site, host):
    """A page of a foreign name that leads to 127.0.0.1 gets nothing, even with the token."""
    reply = site.ask("/", Authorization=f"Bearer {site.token}", Host=host)
    assert reply.status == 421
    assert "shop" not in reply.text


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:21000", "null", ""])
def test_only_its_own_page_may_press_buttons(site, origin):
    """With the cookie alone a request from another origin, or from none, changes nothing."""
    cookie = site.ask(f"/?token={site.token}").headers["set-cookie"].partition(";")[0]
    reply = site.ask("/actions/fire", body={"name": "shop::open_up"}, Cookie=cookie, Origin=origin)
    assert reply.status == 403
    assert site.ask("/actions/fire", body={"name": "shop::open_up"}).status == 401


def test_a_schedule_is_shown_and_fired(site):
    """The page has the schedule with its next firing; its button fires it."""
    page = site.page("/schedules")
    assert "shop::open_up" in page
    assert "0 6 * * *" in page
    cookie = site.ask(f"/?token={site.token}").headers["set-cookie"].partition(";")[0]
    own = f"http://{site.host}"
    fired = site.ask("/actions/fire", body={"name": "shop::open_up"}, Cookie=cookie, Origin=own)
    assert json.loads(fired.text)["done"] == "Fired shop::open_up."
    wrong = site.ask("/actions/fire", body={"name": "nothing"}, Cookie=cookie, Origin=own)
    assert "No schedule is called" in json.loads(wrong.text)["error"]


def test_an_endpoint_is_tried_with_its_proxy_token(site):
    """The form's request goes to the endpoint with the token it wants; elsewhere it goes nowhere."""
    page = site.page("/endpoints")
    url = page[page.index('name="url" value="') :].split('"')[3]
    wanted = {"url": url, "method": "POST", "path": "/", "body": '{"name": "teapot"}'}
    told = json.loads(
        site.ask("/actions/try", body=wanted, Authorization=f"Bearer {site.token}").text
    )
    assert told["status"].startswith("200"), told
    assert json.loads(told["body"]) == {"ordered": "teapot"}
    away = {**wanted, "url": "http://127.0.0.1:22"}
    told = json.loads(
        site.ask("/actions/try", body=away, Authorization=f"Bearer {site.token}").text
    )
    assert "is not an endpoint" in told["error"]


def test_what_is_not_there_is_said_politely(site):
    """Unknown pages, apps and volumes are a 404 with a page."""
    for path in ("/nothing", "/apps/ap-nothing", "/volumes/vo-nothing"):
        reply = site.ask(path, Authorization=f"Bearer {site.token}")
        assert reply.status == 404
        assert "<title>" in reply.text


def test_pages_need_nothing_from_elsewhere(site):
    """No page names another host to fetch from, and its policy would not allow it."""
    reply = site.ask("/", Authorization=f"Bearer {site.token}")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "//cdn" not in reply.text
    assert 'src="http' not in reply.text


class Browser:
    """A headless Chromium, driven over its DevTools protocol."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._count = 0

    async def call(self, method: str, **params: object) -> dict:
        """Send a command and wait for its answer."""
        self._count += 1
        await self._connection.send_json({"id": self._count, "method": method, "params": params})
        while True:
            told = await self._connection.receive_json()
            if told.get("id") == self._count:
                return told["result"]

    async def until(self, expression: str) -> str:
        """Evaluate JavaScript again and again until it is true; return its value."""
        while True:
            told = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True)
            if value := told["result"].get("value"):
                return str(value)
            await asyncio.sleep(0.1)

    async def picture(self, width: int, height: int) -> bytes:
        """Return a screenshot at a window's size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        told = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(told["data"])


@asynccontextmanager
async def opened(folder: Path, url: str) -> AsyncIterator[Browser]:
    """Open a page in a browser of its own."""
    assert BROWSER is not None
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    profile = folder / "profile"
    chromium = subprocess.Popen(  # noqa: ASYNC220 - it starts while nothing else wants to run
        [BROWSER, *words, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stderr=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
            while not (known := profile / "DevToolsActivePort").exists():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.05)
            port = known.read_text().split()[0]
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                page = next(one for one in await answer.json() if one["type"] == "page")
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                browser = Browser(socket)
                await browser.call("Page.navigate", url=url)
                yield browser
    finally:
        chromium.kill()
        chromium.wait()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
def test_a_browser_follows_the_log_and_presses_a_button(site, tmp_path):
    """In a real browser lines appear as they come, as text; firing a schedule brings another."""

    async def visit() -> None:
        async with opened(tmp_path, site.link.replace("/?", "/logs?")) as browser:
            log = "document.querySelector('.log')?.innerText"
            await browser.until(f"{log}?.includes('counting teapots <b>now</b>')")
            await browser.until("!document.querySelector('.log b')")
            before = await browser.until(f"{log}.split('good morning').length")
            async with opened(tmp_path / "second", site.link.replace("/?", "/schedules?")) as other:
                await other.until(
                    "document.readyState === 'complete' && !!document.querySelector('[data-action]')"
                )
                await other.call(
                    "Runtime.evaluate", expression="document.querySelector('[data-action]').click()"
                )
                await other.until("document.querySelector('.toast')?.innerText.includes('Fired')")
            await browser.until(f"{log}.split('good morning').length > {before}")

    asyncio.run(visit())


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
def test_a_browser_sees_what_changes(site, tmp_path):
    """A page that is open shows a new object without being loaded again."""

    async def visit() -> None:
        async with opened(tmp_path, site.link.replace("/?", "/storage?")) as browser:
            await browser.until("document.querySelector('h1')?.innerText === 'Storage'")
            await browser.until("window.stays = true")
            await asyncio.to_thread(site.local, "modal", "queue", "create", "made-meanwhile")
            await browser.until("document.body.innerText.includes('made-meanwhile')")
            await browser.until("window.stays")

    asyncio.run(visit())


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
def test_no_page_is_wider_than_a_phone(site, tmp_path):
    """At phone width no page scrolls sideways; pictures are kept beside the test's other files."""

    async def visit() -> None:
        async with opened(tmp_path, site.link) as browser:
            for path in (
                "/",
                app_path(site),
                "/calls",
                "/storage",
                "/endpoints",
                "/schedules",
                "/images",
            ):
                await browser.call("Page.navigate", url=f"http://{site.host}{path}")
                await browser.until(
                    f"document.readyState === 'complete' && location.pathname === '{path}'"
                )
                picture = await browser.picture(390, 844)
                (tmp_path / f"phone{path.replace('/', '-')}.png").write_bytes(picture)
                await browser.until("document.documentElement.scrollWidth <= innerWidth")

    asyncio.run(visit())
