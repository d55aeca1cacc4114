"""Clients' keys: where they come from, and whether a request carries one of them."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from hashlib import sha256
from typing import Self

from ..errors import DeclarationError

__all__ = ["KeyRing", "keys_from_environment"]

_FINGERPRINT_DIGITS = 8


def keys_from_environment(variable: str | None) -> tuple[str, ...]:
    """The keys in an environment variable, separated by commas or line ends.

    Several keys let an old and a new one work side by side while a key is rotated.
    No variable named means no key is asked for. A named one that holds no key is an error:
    it would open to everybody a server that was meant to be closed.
    """
    if variable is None:
        return ()
    keys = tuple(os.environ.get(variable, "").replace(",", "\n").split())
    if not keys:
        msg = (
            f"The environment variable {variable!r} should hold the API key but is empty or unset. "
            "Put the key into the Secret that brings it, or set the variable."
        )
        raise DeclarationError(msg)
    return keys


class KeyRing:
    """The keys that are good, as SHA-256 digests, with which nobody can call.

    Args:
        digests: The digest of each key.
    """

    def __init__(self, digests: Iterable[bytes]) -> None:
        self.digests = tuple(digests)

    @classmethod
    def of(cls, keys: Iterable[str]) -> Self:
        """The ring of these keys."""
        return cls(sha256(key.encode()).digest() for key in keys)

    @classmethod
    def from_environment(cls, variable: str) -> Self:
        """The ring of the keys in a variable.

        Raises:
            DeclarationError: It holds none.
        """
        return cls.of(keys_from_environment(variable))

    def fingerprint(self, authorization: bytes, api_key: bytes = b"") -> str | None:
        """The first digits of the digest of the key that was sent; ``None`` if it is not good.

        Args:
            authorization: The header of that name: ``Bearer KEY``.
            api_key: The header ``x-api-key``, looked at where there is no ``authorization``.
        """
        scheme, _, key = authorization.partition(b" ")
        if not authorization:
            scheme, key = b"bearer", api_key
        digest = sha256(key.strip()).digest()
        # Digests have one length, and every key is compared: time tells nothing about a key.
        matches = [hmac.compare_digest(digest, known) for known in self.digests]
        good = scheme.lower() == b"bearer" and any(matches)
        return digest.hex()[:_FINGERPRINT_DIGITS] if good else None
