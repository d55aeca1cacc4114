"""What an engine's process is told of the door in front of it, through its environment."""

from __future__ import annotations

import os
import secrets
from typing import Self

from pydantic import Field

from ..._values import Value
from ...declare.endpoints import Endpoint
from ...errors import EngineError
from ..keys import KeyRing
from .door import InnerKeys

__all__ = ["DOOR_VARIABLE", "DoorSettings", "EngineRequest"]

DOOR_VARIABLE = "MODALKIT_DOOR"

EngineRequest = tuple[str, dict[str, object]]


class DoorSettings(Value):
    """The rules, digests of the clients' keys, and two keys made for one start of the engine.

    Attributes:
        endpoint: The declared rules.
        routes: The engine's routes for clients.
        digests: SHA-256 of each key of the clients, in hex; ``None`` where none is asked for.
        engine_key: What the engine asks for; clients never have it, the door adds it.
        admin_key: What modalkit's own requests carry.
        service: The class that the engine serves.
        requests: What the engine may be asked to see whether it answers.
    """

    endpoint: Endpoint
    routes: frozenset[str]
    digests: tuple[str, ...] | None
    engine_key: str = Field(repr=False)
    admin_key: str = Field(repr=False)
    service: str = ""
    requests: tuple[EngineRequest, ...] = ()

    @classmethod
    def made(
        cls,
        endpoint: Endpoint,
        routes: frozenset[str],
        keys: KeyRing | None,
        *,
        service: str = "",
        requests: tuple[EngineRequest, ...] = (),
    ) -> Self:
        """Settings with new inner keys."""
        return cls(
            endpoint=endpoint,
            routes=routes,
            digests=tuple(digest.hex() for digest in keys.digests) if keys else None,
            # Hex: a key that began with '-' would be a flag to the parser of whoever takes it as one.
            engine_key=secrets.token_hex(32),
            admin_key=secrets.token_hex(32),
            service=service,
            requests=requests,
        )

    @classmethod
    def of_this_process(cls) -> Self:
        """What this process was told.

        Raises:
            EngineError: It was told nothing.
        """
        told = os.environ.get(DOOR_VARIABLE)
        if told is None:
            msg = (
                f"The variable {DOOR_VARIABLE!r} is not set, so nobody may be let in. It is set for "
                "engines that modalkit starts; start this one from a service."
            )
            raise EngineError(msg)
        return cls.model_validate_json(told)

    @property
    def keys(self) -> KeyRing | None:
        """The keys of clients."""
        return None if self.digests is None else KeyRing(map(bytes.fromhex, self.digests))

    @property
    def inner(self) -> InnerKeys:
        """The keys between this container's processes."""
        return InnerKeys(self.engine_key, self.admin_key)
