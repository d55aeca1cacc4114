"""Where a container with a restricted network may connect to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

__all__ = ["AllowList"]


@dataclass(frozen=True, slots=True)
class AllowList:
    """Networks and domains; what is in neither is out of reach.

    Attributes:
        domains: Names in small letters. ``*.example.com`` stands for that name and all below it, and
            ``*`` for every name.
    """

    networks: tuple[IPv4Network | IPv6Network, ...]
    domains: tuple[str, ...]

    @classmethod
    def of(cls, networks: Iterable[str], domains: Iterable[str]) -> AllowList:
        """Read what a client wrote.

        Raises:
            ValueError: One of the networks is none.
        """
        return cls(
            tuple(ipaddress.ip_network(one, strict=False) for one in networks),
            tuple(one.lower().rstrip(".") for one in domains),
        )

    async def address(self, host: str, port: int) -> str:
        """Return what to connect to for a host: itself, or that address of it which is allowed.

        Raises:
            PermissionError: It is not on the list.
        """
        if self._names(host):
            return host
        for address in await _addresses(host, port) if self.networks else ():
            if any(ipaddress.ip_address(address) in network for network in self.networks):
                return address
        msg = (
            f"{host!r} is not on the sandbox's allowlist. Add it to outbound_domain_allowlist, or its "
            "network to outbound_cidr_allowlist."
        )
        raise PermissionError(msg)

    def _names(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        return any(
            domain in {"*", name} or (domain.startswith("*.") and f".{name}".endswith(domain[1:]))
            for domain in self.domains
        )


async def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host; none when it has none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(one[4][0]) for one in found]
