"""Where an endpoint is, and the head of every request to it. Keys come from the environment alone."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..errors import BenchError, DeclarationError

__all__ = ["Target", "credentials", "parse_url"]

_PORTS = {"http": 80, "https": 443}
_KEY = "MODALKIT_API_KEY"


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint.

    Attributes:
        scheme: ``"http"`` or ``"https"``.
        host: Its name or address.
        port: Its port.
        path: The path it was given with, without a slash at its end.
        query: What stood behind a question mark.
        headers: Headers of every request; their values are secrets and are in no message.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def origin(self) -> str:
        """Scheme, host and port, as a browser would write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        shown = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{shown}"

    @property
    def url(self) -> str:
        """The address without query and credentials."""
        return self.origin + self.path

    def tls(self) -> ssl.SSLContext | None:
        """Return how its certificate is checked; None without TLS."""
        if self.scheme != "https":
            return None
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    def request(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> bytes:
        """Return a whole request as bytes.

        Args:
            method: ``"POST"`` or another.
            path: From the root of the host.
            body: What is sent.
            content_type: What it is.
        """
        query = f"?{self.query}" if self.query else ""
        lines = [
            f"{method} {path or '/'}{query} HTTP/1.1",
            f"Host: {self.origin.partition('://')[2]}",
            "Accept-Encoding: identity",
            "User-Agent: modalkit-bench",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        if body or method not in {"GET", "HEAD"}:
            lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body

    def without_secrets(self, text: str) -> str:
        """Return a text without the values of headers that may stand in it."""
        for value in self.headers.values():
            for secret in {value, value.removeprefix("Bearer ")}:
                if secret:
                    text = text.replace(secret, "***")
        return text


def parse_url(url: str, headers: Mapping[str, str]) -> Target:
    """Return the endpoint of an address.

    Raises:
        DeclarationError: It is no address of HTTP, or it has a password in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        msg = f"The address is not valid: {error}. Write https://host or http://127.0.0.1:8000."
        raise DeclarationError(msg) from error
    if parts.scheme not in _PORTS or not parts.hostname:
        msg = f"{url!r} is no address. Write https://host or http://127.0.0.1:8000."
        raise DeclarationError(msg)
    if parts.username or parts.password:
        msg = "The address has a user or password in it. Put the key in an environment variable and name it with --key-env."
        raise DeclarationError(msg)
    return Target(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        path=parts.path.rstrip("/"),
        query=parts.query,
        headers=headers,
    )


def credentials(
    key_env: str | None, header_env: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the headers that open an endpoint, from environment variables.

    A Bearer key is in ``key_env``, else in ``MODALKIT_API_KEY`` if that is set; of several keys with
    commas between them the first is sent.

    Args:
        key_env: The variable with the Bearer key.
        header_env: Variables by the name of the header that they fill.
        environment: The variables; this process's own by default.

    Raises:
        BenchError: A variable that was named is not set.
    """
    variables = os.environ if environment is None else environment
    headers: dict[str, str] = {}
    named = {"Authorization": key_env} if key_env else {}
    for header, variable in {**named, **header_env}.items():
        value = variables.get(variable, "").strip()
        if not value:
            msg = f"The environment variable {variable!r} is not set. Export the value for the header {header}, or name another variable."
            raise BenchError(msg)
        if "\n" in value or "\r" in value:
            msg = f"The environment variable {variable!r} holds more than one line."
            raise BenchError(msg)
        headers[header] = value
    usual = variables.get(_KEY, "").strip()
    if key_env:
        headers["Authorization"] = f"Bearer {_first(headers['Authorization'])}"
    elif usual and "Authorization" not in headers:
        headers["Authorization"] = f"Bearer {_first(usual)}"
    return headers


def _first(keys: str) -> str:
    return keys.split(",", maxsplit=1)[0].strip()
