"""Connections that are kept: one per thread and server, so that a range costs one exchange."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

__all__ = ["Connections", "origin_of"]

_TIMEOUT_S = 30.0
_MOST_DRAINED = 1 << 16  # what is read of an answer nobody wants, before its connection is given up


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address: where a token may go, or not."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Connections:
    """Connections of several threads to several servers; no thread waits for another."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._tls: ssl.SSLContext | None = None

    def get(self, url: str, headers: Mapping[str, str]) -> HTTPResponse:
        """Send a GET and return its answer, with its body still to be read.

        Raises:
            OSError: The server cannot be reached.
            HTTPException: It does not speak HTTP, or closed the connection in between.
        """
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection, is_new = self._connection(origin_of(url))
        try:
            connection.request("GET", target, headers=dict(headers))
            return connection.getresponse()
        except (HTTPException, OSError):
            connection.close()
            if is_new:
                raise
        # It was kept too long: the server has closed it meanwhile.
        connection.request("GET", target, headers=dict(headers))
        return connection.getresponse()

    def drain(self, answer: HTTPResponse) -> None:
        """Read the rest of a short answer, so that its connection can be used again."""
        try:
            answer.read(_MOST_DRAINED)
        finally:
            if not answer.isclosed():
                self.forget()

    def forget(self) -> None:
        """Close this thread's connections: the state of one is not known."""
        for connection in self._kept().values():
            connection.close()
        self._kept().clear()

    def _connection(self, origin: str) -> tuple[HTTPConnection, bool]:
        kept = self._kept()
        if origin in kept:
            return kept[origin], False
        scheme, _, host = origin.partition("://")
        if scheme == "https":
            self._tls = self._tls or ssl.create_default_context()
            kept[origin] = HTTPSConnection(host, timeout=_TIMEOUT_S, context=self._tls)
        else:
            kept[origin] = HTTPConnection(host, timeout=_TIMEOUT_S)
        return kept[origin], True

    def _kept(self) -> dict[str, HTTPConnection]:
        if not hasattr(self._own, "kept"):
            self._own.kept = {}
        found: dict[str, HTTPConnection] = self._own.kept
        return found
