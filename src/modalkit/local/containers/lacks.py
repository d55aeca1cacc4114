"""What a function lacks where containers have no namespaces, in words for the user."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..protocol import serves_http

if TYPE_CHECKING:
    from ..apps.functions import FunctionEntry

__all__ = ["without_namespaces"]


def without_namespaces(function: FunctionEntry) -> Iterator[str]:
    """Yield what is different for a function whose containers are plain processes."""
    yield (
        "containers have no namespaces here: they share this machine's files and ports, and their "
        "absolute paths are links while they run; what they write to a volume is committed at once"
    )
    if function.definition.block_network:
        yield f"without namespaces {function.name!r} reaches the network, despite block_network=True"
    if serves_http(function.definition):
        yield (
            f"without namespaces {function.name!r} has one replica, which listens on this machine's "
            f"port {function.definition.http_config.port}"
        )
    if function.serves_port and _lacks_eth0():
        yield (
            f"{function.name!r} may fail: Modal's web_server looks for a network interface eth0, "
            "which this machine does not have"
        )


def _lacks_eth0() -> bool:
    return "eth0" not in {name for _index, name in socket.if_nameindex()}
