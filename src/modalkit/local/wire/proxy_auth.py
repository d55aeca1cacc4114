"""Proxy authentication: endpoints that ask for Modal's ``Modal-Key`` and ``Modal-Secret``."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["ProxyAuth"]


@dataclass(frozen=True, slots=True)
class ProxyAuth:
    """This plane's one key and secret, which stand for a workspace's proxy tokens."""

    key: str = field(default_factory=lambda: "wk-" + secrets.token_hex(11))
    secret: str = field(default_factory=lambda: "ws-" + secrets.token_hex(16), repr=False)

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return what a request without the right key and secret is told; nothing if it has them."""
        shown = {name.lower(): value for name, value in headers}
        key, secret = shown.get(b"modal-key", b""), shown.get(b"modal-secret", b"")
        right = hmac.compare_digest(key, self.key.encode())
        right &= hmac.compare_digest(secret, self.secret.encode())
        if right:
            return ""
        fault = "invalid" if key and secret else "missing"
        return (
            f"modal-http: {fault} credentials for proxy authorization\n"
            "Send the headers Modal-Key and Modal-Secret with this local Modal's values: the "
            "variables MODALKIT_PROXY_KEY and MODALKIT_PROXY_SECRET of the command it runs, or what "
            "`modalkit local up` prints.\n"
        )
