"""Where a plane will answer and what its clients must show, known before it is loaded.

Loading gRPC and an HTTP server takes a few tenths of a second. A command that needs the plane can
start meanwhile: the port is taken at once, and connections wait in its queue.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .auth import ProxyAuth

__all__ = ["Address"]

_ACCOUNT = ("MODAL_TOKEN", "MODAL_OAUTH", "MODAL_SERVER", "MODAL_PROFILE")


@dataclass(frozen=True)
class Address:
    """A loopback port, taken, with the credentials of the plane that will serve it.

    Attributes:
        state: The plane's state folder.
    """

    state: Path
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    token: str = field(default_factory=lambda: "as-" + secrets.token_hex(16), repr=False)
    proxy_auth: ProxyAuth = field(default_factory=ProxyAuth)

    @property
    def url(self) -> str:
        """What Modal's client connects to."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def exports(self) -> dict[str, str]:
        """Return the variables that point a Modal client here and nowhere else."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": "ak-local",
            "MODAL_TOKEN_SECRET": self.token,
            "MODAL_CONFIG_PATH": str(self.state.expanduser().absolute() / "modal.toml"),
            "MODALKIT_PROXY_KEY": self.proxy_auth.key,
            "MODALKIT_PROXY_SECRET": self.proxy_auth.secret,
        }

    def client_environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return a command's variables: the given ones without the user's Modal account."""
        kept = {name: value for name, value in environment.items() if not name.startswith(_ACCOUNT)}
        return {**kept, **self.exports()}
