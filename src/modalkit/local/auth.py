"""Proxy authentication: endpoints that ask for Modal's ``Modal-Key`` and ``Modal-Secret``."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ProxyAuth"]


@dataclass(frozen=True, slots=True)
class ProxyAuth:
    """This plane's one key and secret, which stand for a workspace's proxy tokens."""

    key: str = field(default_factory=lambda: "wk-" + secrets.token_hex(11))
    secret: str = field(default_factory=lambda: "ws-" + secrets.token_hex(16), repr=False)

    @property
    def explanation(self) -> str:
        """What a request without them is told."""
        return (
            "This endpoint needs proxy authentication. Send the headers Modal-Key and Modal-Secret "
            "with this local Modal's values: the variables MODALKIT_PROXY_KEY and "
            "MODALKIT_PROXY_SECRET of the command it runs, or what `modalkit local up` prints."
        )

    def allows(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request's headers carry the key and the secret."""
        key, secret = headers.get("Modal-Key", ""), headers.get("Modal-Secret", "")
        return hmac.compare_digest(key.encode(), self.key.encode()) & hmac.compare_digest(
            secret.encode(), self.secret.encode()
        )
