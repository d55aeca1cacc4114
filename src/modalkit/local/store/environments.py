"""Environments: separate names for apps, volumes, secrets, dicts and queues."""

from __future__ import annotations

from grpclib.const import Status

from ..ids import new_id
from ..protocol import Message, refuse
from .records import Record, Records

__all__ = ["DEFAULT_ENVIRONMENT", "Environments"]

DEFAULT_ENVIRONMENT = "main"
_KIND = "environment"


class Environments:
    """The environments of a state folder; "main" is always there."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def settle(self, request: Message) -> None:
        """Put the environment a request means into it, and refuse one that does not exist.

        Every RPC with an ``environment_name`` comes through here before it is served.
        """
        request.environment_name = self.find(request.environment_name).name

    def find(self, name: str) -> Record:
        """Return an environment, the default one for an empty name; refuse an unknown name."""
        record = self._records.by_name(_KIND, "", name or DEFAULT_ENVIRONMENT)
        if record is None:
            refuse(
                Status.NOT_FOUND,
                f"There is no environment {name!r} in this local Modal. "
                f"Create it with: modalkit local modal environment create {name}",
            )
        return record

    def changeable(self, name: str, change: str) -> Record:
        """Return an environment; refuse the one that always stays."""
        record = self.find(name)
        if record.name == DEFAULT_ENVIRONMENT:
            refuse(
                Status.FAILED_PRECONDITION,
                f"The environment {record.name!r} is the default one here and cannot be {change}.",
            )
        return record

    def list_all(self) -> list[Record]:
        """Return every environment, the oldest first."""
        return self._records.list_all(_KIND, "")[::-1]

    def create(self, name: str) -> Record:
        """Make an environment."""
        self._check_free(name)
        return self._records.put(_KIND, "", name, new_id("en"), b"")

    def rename(self, name: str, to: str) -> None:
        """Give an environment another name; what is in it moves along."""
        record = self.changeable(name, "renamed")
        self._check_free(to)
        with self._records.database.transaction():
            self._records.rename(record.id, to)
            self._records.move_environment(name, to)

    def delete(self, name: str) -> None:
        """Remove an environment and every record in it."""
        record = self.changeable(name, "deleted")
        with self._records.database.transaction():
            self._records.delete(record.id)
            self._records.delete_environment(name)

    def _check_free(self, name: str) -> None:
        if self._records.by_name(_KIND, "", name) is not None:
            refuse(Status.ALREADY_EXISTS, f"An environment {name!r} exists already.")
