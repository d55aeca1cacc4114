"""The proxy of this machine, from ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # the stubs lack the second
    getproxies_environment,
    proxy_bypass_environment,
)

from ..errors import HubError

__all__ = ["Proxy", "proxy_for"]

_PORT = (
    8080  # what a proxy without a port is asked at, as curl does with 1080 and browsers with this
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where requests go first.

    Attributes:
        host: Its name.
        port: Its port.
        headers: What lets us through, if it asks for a name and a password.
    """

    host: str
    port: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy that an address is asked through; None where it is asked directly.

    Raises:
        HubError: The variable names a proxy of a kind that is not spoken here.
    """
    parts = urlsplit(url)
    found = getproxies_environment()
    named = found.get(parts.scheme) or found.get("all")
    if not named or proxy_bypass_environment(parts.netloc.rpartition("@")[2], found):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    if proxy.scheme != "http" or not proxy.hostname:
        msg = (
            f"The proxy for {parts.scheme} addresses is of the kind {proxy.scheme!r}; weights are fetched through "
            "'http://' proxies only, TLS inside. Set HTTPS_PROXY to one, or NO_PROXY for the hub."
        )
        raise HubError(msg)
    if not proxy.username:
        return Proxy(proxy.hostname, proxy.port or _PORT)
    told = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    basic = b64encode(told.encode()).decode()
    return Proxy(proxy.hostname, proxy.port or _PORT, {"Proxy-Authorization": f"Basic {basic}"})
