"""Secrets: names and values, kept in the state folder; values go to containers only."""

from __future__ import annotations

import json
from collections.abc import Mapping

from grpclib.const import Status

from ..ids import new_id
from ..protocol import refuse
from .records import Record, Records

__all__ = ["Secrets"]

_KIND, _ANONYMOUS = "secret", "anonymous secret"


class Secrets:
    """Named secrets on disk, anonymous ones (`Secret.from_dict`) in memory."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._anonymous: dict[str, dict[str, str]] = {}

    def values(self, secret_id: str) -> dict[str, str]:
        """Return a secret's variables."""
        if secret_id in self._anonymous:
            return self._anonymous[secret_id]
        values: dict[str, str] = json.loads(self.find(secret_id).body)
        return values

    def hold(self, values: Mapping[str, str]) -> str:
        """Keep a secret without a name until the plane ends; return its id."""
        secret_id = new_id("st")
        self._anonymous[secret_id] = dict(values)
        return secret_id

    def is_anonymous(self, secret_id: str) -> bool:
        """Whether `hold` made this one."""
        return secret_id in self._anonymous

    def keep(self, secret_id: str) -> None:
        """Write an anonymous secret down, because a deployed app uses it."""
        values = self._anonymous.get(secret_id)
        if values is not None:
            body = json.dumps(values).encode()
            self._records.put(_ANONYMOUS, "", secret_id, secret_id, body)

    def named(self, environment: str, name: str) -> Record | None:
        """Return the secret of that name, if there is one."""
        return self._records.by_name(_KIND, environment, name)

    def put(self, environment: str, name: str, values: Mapping[str, str]) -> Record:
        """Write a named secret, over an older one of that name."""
        known = self.named(environment, name)
        body = json.dumps(dict(values)).encode()
        return self._records.put(
            _KIND, environment, name, known.id if known else new_id("st"), body
        )

    def list_all(self, environment: str) -> list[Record]:
        """Return an environment's secrets, newest first."""
        return self._records.list_all(_KIND, environment)

    def find(self, secret_id: str) -> Record:
        """Return a secret that is on disk; refuse an id that is not."""
        record = self._records.by_id(secret_id)
        if record is None or record.kind not in {_KIND, _ANONYMOUS}:
            refuse(Status.NOT_FOUND, f"There is no secret {secret_id!r} in this local Modal.")
        return record

    def delete(self, secret_id: str) -> None:
        """Forget a secret."""
        self._records.delete(secret_id)
