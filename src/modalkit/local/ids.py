"""Names for things, in the shape Modal's client expects: a two-letter kind and random letters."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import string

__all__ = ["content_id", "input_token", "new_id"]

_ALPHABET = string.ascii_letters + string.digits


def new_id(kind: str) -> str:
    """Return a fresh id such as ``fu-3kR...``."""
    return f"{kind}-" + "".join(secrets.choice(_ALPHABET) for _ in range(22))


def content_id(kind: str, content: bytes) -> str:
    """Return an id that is the same for the same content."""
    digest = base64.b32encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{kind}-{digest[:26]}"


def input_token(index: int) -> str:
    """Return the token the client keeps for an input; it reads ``idx`` and verifies nothing."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part({'idx': index})}.local"
