"""Objects that are looked up or made by name, and those without one: dicts and queues."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from grpclib.const import Status

from ..ids import new_id
from ..protocol import api, refuse
from .records import Record, Records

__all__ = ["Kind", "NamedRequest", "Shelf", "creation_info", "existing", "public_name"]

# The client beats every 300 s while it holds an ephemeral object.
_SILENCE_LIMIT_S = 1000.0


class NamedRequest(Protocol):
    """What every ``...GetOrCreate`` request says."""

    deployment_name: str
    environment_name: str
    object_creation_type: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of named object.

    Attributes:
        record: Its records' kind.
        word: What to call it in a message.
        prefix: What its ids begin with.
        command: What `modal` calls it; the word in small letters unless given.
    """

    record: str
    word: str
    prefix: str
    command: str = ""

    @property
    def maker(self) -> str:
        """The command that makes one."""
        return f"modal {self.command or self.word.lower()} create"


def existing(records: Records, kind: Kind, request: NamedRequest) -> Record | None:
    """Return the object that a request names, or None when it is to be made.

    Refuses a name that must exist and does not, or must be new and is not.
    """
    name = request.deployment_name
    record = records.by_name(kind.record, request.environment_name, name)
    creation = request.object_creation_type
    if record is None and creation == api.OBJECT_CREATION_TYPE_UNSPECIFIED:
        where = f"the environment {request.environment_name!r} of this local Modal"
        refuse(
            Status.NOT_FOUND,
            f"There is no {kind.word} {name!r} in {where}. Use {kind.word}.from_name({name!r}, "
            f"create_if_missing=True) or `{kind.maker} {name}`.",
        )
    if record is not None and creation == api.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
        refuse(
            Status.ALREADY_EXISTS,
            f"A {kind.word} {name!r} exists already in {request.environment_name!r}.",
        )
    return record


def creation_info(record: Record) -> api.CreationInfo:
    """Say when an object was made, and by whom: there is one user here."""
    return api.CreationInfo(created_at=record.created_at, created_by="local")


def public_name(record: Record) -> str:
    """Return the name to show; an ephemeral object has none."""
    return "" if record.name == record.id else record.name


class Shelf:
    """The objects of one kind: named ones on disk, ephemeral ones beside them.

    Args:
        records: Keeps those with a name.
        ephemeral: Keeps those without, until the plane ends or their client goes silent.
    """

    def __init__(self, kind: Kind, records: Records, ephemeral: Records) -> None:
        self._kind = kind
        self._records = records
        self._ephemeral = ephemeral
        self._beats: dict[str, float] = {}

    def get_or_create(self, request: NamedRequest) -> tuple[Record, bool]:
        """Return the object a request asks for, and whether it was made for it."""
        identity = new_id(self._kind.prefix)
        if request.object_creation_type == api.OBJECT_CREATION_TYPE_EPHEMERAL:
            self._drop_silent()
            self._beats[identity] = time.monotonic()
            return self._ephemeral.put(self._kind.record, "", identity, identity, b""), True
        record = existing(self._records, self._kind, request)
        if record is not None:
            return record, False
        where, name = request.environment_name, request.deployment_name
        record = self._records.add(self._kind.record, where, name, identity, b"")
        return record, record.id == identity

    def find(self, identity: str) -> Record:
        """Return an object by its id, or refuse."""
        record = self.home(identity).by_id(identity)
        if record is None or record.kind != self._kind.record:
            word = self._kind.word
            refuse(Status.NOT_FOUND, f"There is no {word} {identity!r} in this local Modal.")
        return record

    def home(self, identity: str) -> Records:
        """Return the records that hold an object, or would."""
        return self._ephemeral if identity in self._beats else self._records

    def beat(self, identity: str) -> None:
        """Hear that an ephemeral object is in use."""
        if identity in self._beats:
            self._beats[identity] = time.monotonic()

    def list_named(self, environment: str, pagination: api.ListPagination) -> list[Record]:
        """Return a page of an environment's objects, newest first."""
        before, most = pagination.created_before, pagination.max_objects
        found = [
            record
            for record in self._records.list_all(self._kind.record, environment)
            if not before or record.created_at < before
        ]
        return found[:most] if most else found

    def delete(self, identity: str) -> None:
        """Remove an object and what it holds."""
        self.home(identity).delete(identity)
        self._beats.pop(identity, None)

    def _drop_silent(self) -> None:
        for identity, beat in list(self._beats.items()):
            if time.monotonic() - beat > _SILENCE_LIMIT_S:
                self.delete(identity)
