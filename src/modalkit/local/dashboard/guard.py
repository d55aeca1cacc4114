"""Who may see the dashboard: this machine's user, from this page.

The plane listens on loopback only. A page of another site cannot reach it by a name of its own that
leads to 127.0.0.1, since the Host header must be this address; a page on another port of this
machine cannot press its buttons, since the Origin header must be this one; and another user of this
machine sees nothing without the token.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from aiohttp import web

__all__ = ["Guard"]

_COOKIE_AGE_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides on requests to the dashboard.

    Attributes:
        token: What `modalkit local up` prints as part of the address.
        port: Where the dashboard answers.
    """

    token: str = field(repr=False)
    port: int

    def is_here(self, request: web.BaseRequest) -> bool:
        """Return whether a request was made for this address."""
        return request.headers.get("Host", "") in self._hosts

    def knows(self, request: web.BaseRequest) -> bool:
        """Return whether a request shows the token, or the cookie that stands for it."""
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return _same(bearer, self.token) or _same(
            request.cookies.get(self._cookie, ""), self._cookie_value
        )

    def shows_token(self, request: web.BaseRequest) -> bool:
        """Return whether a request's address has the token in it."""
        return _same(request.query.get("token", ""), self.token)

    def may_act(self, request: web.BaseRequest) -> bool:
        """Return whether a request that changes something comes from the dashboard itself."""
        if request.headers.get("Authorization"):
            return True  # no browser adds that by itself
        return request.headers.get("Origin", "") in {f"http://{host}" for host in self._hosts}

    def remember(self, response: web.Response) -> None:
        """Give a browser the cookie."""
        response.set_cookie(
            self._cookie,
            self._cookie_value,
            max_age=_COOKIE_AGE_S,
            httponly=True,
            samesite="Strict",
            path="/",
        )

    @property
    def _hosts(self) -> set[str]:
        return {f"localhost:{self.port}", f"127.0.0.1:{self.port}"}

    @property
    def _cookie(self) -> str:
        return f"modalkit_{self.port}"

    @property
    def _cookie_value(self) -> str:
        return hmac.new(self.token.encode(), b"dashboard", hashlib.sha256).hexdigest()


def _same(shown: str, right: str) -> bool:
    return hmac.compare_digest(shown.encode(), right.encode())
