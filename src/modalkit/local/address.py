"""Where a plane will answer and what its clients must show, known before it is loaded.

Loading gRPC and an HTTP server takes a few tenths of a second. A command that needs the plane can
start meanwhile: the ports are taken at once, and connections wait in their queues.

Ports and tokens of a state folder stay the same from plane to plane where they can, so that a shell
with its variables and a browser with its page find the next plane too.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .store.places import File, Folder
from .wire.ports import preferred_port
from .wire.proxy_auth import ProxyAuth
from .wire.trust import Trust

__all__ = ["Address", "direct_here", "pointed_at", "without_account"]

_ACCOUNT = (
    "MODAL_TOKEN",
    "MODAL_OAUTH",
    "MODAL_SERVER",
    "MODAL_STREAMS",
    "MODAL_PROFILE",
    "MODAL_OVERRIDE_HEADERS",
)
_HERE = "127.0.0.1,localhost"


def _new_token() -> str:
    return "as-" + secrets.token_hex(16)


@dataclass(frozen=True)
class Address:
    """Two loopback ports, taken, with the credentials of the plane that will serve them.

    Attributes:
        state: The plane's state folder.
        listener: Where Modal's clients connect.
        page_listener: Where browsers and large payloads connect.
        token: What a Modal client must show.
        page_token: What a browser must show to see the dashboard.
    """

    state: Path
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    page_listener: socket.socket = field(
        default_factory=lambda: socket.create_server(("127.0.0.1", 0))
    )
    token: str = field(default_factory=_new_token, repr=False)
    page_token: str = field(default_factory=_new_token, repr=False)
    proxy_auth: ProxyAuth = field(default_factory=ProxyAuth)

    @classmethod
    def of(cls, state: Path) -> Address:
        """Return a state folder's address: the one its last plane had, if its ports are free."""
        place = state.expanduser().absolute()
        tokens = _kept_tokens(File.TOKENS.of(place))
        return cls(
            state,
            listener=preferred_port(f"plane {place}"),
            page_listener=preferred_port(f"page {place}"),
            token=tokens["client"],
            page_token=tokens["page"],
        )

    @property
    def url(self) -> str:
        """What Modal's client connects to."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def page(self) -> str:
        """The dashboard's address.

        It says ``localhost`` because web endpoints answer at ``127.0.0.1``: to a browser these are
        two hosts, and the dashboard's cookie is never sent to an endpoint.
        """
        return f"http://localhost:{self.page_listener.getsockname()[1]}"

    def exports(self) -> dict[str, str]:
        """Return the variables that point a Modal client here and nowhere else.

        With them programs trust the certificate of this plane's tunnels.
        """
        state = self.state.expanduser().absolute()
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": "ak-local",
            "MODAL_TOKEN_SECRET": self.token,
            "MODAL_CONFIG_PATH": str(File.CLIENT_CONFIG.of(state)),
            "MODAL_DISABLE_API_PROXY": "1",
            **self.trust.variables(os.environ),
            "MODALKIT_LOCAL_STATE": str(state),
            "MODALKIT_PROXY_KEY": self.proxy_auth.key,
            "MODALKIT_PROXY_SECRET": self.proxy_auth.secret,
        }

    @property
    def trust(self) -> Trust:
        """The certificates of its state folder."""
        return Trust(Folder.TLS.of(self.state.expanduser().absolute()))


def pointed_at(exports: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return a command's variables: the given ones, without a Modal account, and a plane's.

    What the command sends to this machine goes to no proxy.
    """
    return {**without_account(environment), **direct_here(environment), **exports}


def direct_here(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which a program reaches this machine without a proxy."""
    direct = environment.get("NO_PROXY") or environment.get("no_proxy")
    listed = ",".join(filter(None, (direct, _HERE)))
    return {"NO_PROXY": listed, "no_proxy": listed}


def without_account(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables without those that name a Modal account or server."""
    return {name: value for name, value in environment.items() if not name.startswith(_ACCOUNT)}


def _kept_tokens(path: Path) -> dict[str, str]:
    """Return a state folder's tokens, made when it has none (or none that can be read)."""
    try:
        kept = json.loads(path.read_text())
        return {"client": str(kept["client"]), "page": str(kept["page"])}
    except (OSError, ValueError, KeyError, TypeError):
        tokens = {"client": _new_token(), "page": _new_token()}
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(tokens))
    return tokens
