"""Connections that are kept: one per thread and server, so that a range costs one exchange.

They go through the proxy that the environment names: by a tunnel for ``https``, whose TLS reaches from
here to the server, and by asking the proxy itself for ``http``.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

from .proxies import proxy_for

__all__ = ["Connections", "origin_of"]

_TIMEOUT_S = 30.0
_MOST_DRAINED = 1 << 16  # what is read of an answer nobody wants, before its connection is given up


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address: where a token may go, or not."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class _Line(NamedTuple):
    """A connection, and what its requests carry on their way through a proxy that is asked itself."""

    connection: HTTPConnection
    prefix: str = ""
    headers: Mapping[str, str] = {}

    def ask(self, target: str, headers: Mapping[str, str]) -> HTTPResponse:
        self.connection.request("GET", self.prefix + target, headers={**self.headers, **headers})
        return self.connection.getresponse()


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
            HubError: A proxy is named whose kind is not spoken here.
        """
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        line, is_new = self._line(origin_of(url))
        try:
            return line.ask(target, headers)
        except (HTTPException, OSError):
            line.connection.close()
            if is_new:
                raise
        return line.ask(target, headers)  # it was kept too long: the server has closed it meanwhile

    def drain(self, answer: HTTPResponse) -> None:
        """Read the rest of a short answer, so that its connection can be used again."""
        try:
            answer.read(_MOST_DRAINED)
        finally:
            if not answer.isclosed():
                self.forget()

    def forget(self) -> None:
        """Close this thread's connections: the state of one is not known."""
        for line in self._kept().values():
            line.connection.close()
        self._kept().clear()

    def _line(self, origin: str) -> tuple[_Line, bool]:
        kept = self._kept()
        if origin in kept:
            return kept[origin], False
        kept[origin] = self._new_line(origin)
        return kept[origin], True

    def _new_line(self, origin: str) -> _Line:
        scheme, _, host = origin.partition("://")
        proxy = proxy_for(origin)
        if scheme == "https":
            self._tls = self._tls or ssl.create_default_context()
            if proxy is None:
                return _Line(HTTPSConnection(host, timeout=_TIMEOUT_S, context=self._tls))
            tunnel = HTTPSConnection(proxy.host, proxy.port, timeout=_TIMEOUT_S, context=self._tls)
            tunnel.set_tunnel(host, headers=proxy.headers)
            return _Line(tunnel)
        if proxy is None:
            return _Line(HTTPConnection(host, timeout=_TIMEOUT_S))
        direct = HTTPConnection(proxy.host, proxy.port, timeout=_TIMEOUT_S)
        return _Line(direct, origin, proxy.headers)

    def _kept(self) -> dict[str, _Line]:
        if not hasattr(self._own, "kept"):
            self._own.kept = {}
        found: dict[str, _Line] = self._own.kept
        return found
