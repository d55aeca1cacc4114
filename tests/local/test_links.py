"""Links to volumes' files and blocks, which nobody can guess and which end."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from aiohttp import ClientSession, web
from aiohttp.test_utils import BaseTestServer, TestServer

from modalkit.local.store.blobs import Blobs
from modalkit.local.store.files import FileStore
from modalkit.local.store.links import Links

HOUR = 3600.0


class HandClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_links_last_an_hour_and_leave_nothing_behind():
    """A link is good until its hour is over; a new one drops those that have expired, used or not."""
    clock = HandClock()
    links = Links[str](clock)
    first = links.make("first")
    clock.now = HOUR - 1
    second = links.make("second")
    assert (links.get(first), links.get(second), len(links)) == ("first", "second", 2)
    clock.now = HOUR
    third = links.make("third")
    assert len(links) == 2
    assert (links.get(first), links.take(second), links.take(second)) == (None, "second", None)
    assert links.get(third) == "third"


def test_an_expired_link_answers_404(tmp_path: Path):
    """A block's and a range's link are good within the hour, and not found after it."""
    (tmp_path / "files").mkdir()
    (tmp_path / "file").write_bytes(b"0123456789")
    sha256 = hashlib.sha256(b"block").hexdigest()
    clock = HandClock()
    blobs = Blobs(tmp_path, FileStore(tmp_path / "files", tmp_path / "layers"), clock)

    async def answers(server: BaseTestServer, *, later: float) -> list[int]:
        blobs.base_url = str(server.make_url("")).rstrip("/")
        put, get = blobs.upload_url(sha256), blobs.download_url(tmp_path / "file", 2, 5)
        clock.now += later
        async with ClientSession() as client:
            return [
                (await client.put(put, data=b"block")).status,
                (await client.get(get)).status,
            ]

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", blobs.serve)
        async with TestServer(app) as server:
            assert await answers(server, later=HOUR - 1) == [200, 200]
            assert await answers(server, later=HOUR) == [404, 404]

    asyncio.run(run())
