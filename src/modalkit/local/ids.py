"""Names for things, in the shape Modal's client expects: a two-letter kind and random letters."""

from __future__ import annotations

import base64
import hashlib
import secrets
import string

__all__ = ["content_id", "input_token", "new_id"]

_ALPHABET = (string.ascii_letters + string.digits).encode()
# Random bytes become letters; eight of the 62 come up a little more often, which no id minds.
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))


def new_id(kind: str) -> str:
    """Return a fresh id such as ``fu-3kR...``."""
    return f"{kind}-{secrets.token_bytes(22).translate(_LETTERS).decode()}"


def content_id(kind: str, content: bytes) -> str:
    """Return an id that is the same for the same content."""
    digest = base64.b32encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{kind}-{digest[:26]}"


def input_token(index: int) -> str:
    """Return the token the client keeps for an input; it reads ``idx`` and verifies nothing.

    It is short because a map's client sends the tokens of all its inputs with every request.
    """
    payload = base64.urlsafe_b64encode(b'{"idx":%d}' % index).rstrip(b"=").decode()
    return f"e30.{payload}.x"
