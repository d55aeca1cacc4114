"""The lock: what exactly a deploy will bring, found out once and written beside the service's file.

`modalkit.lock` holds, for every service of the files in a folder, the commit and the files of its model
with their hashes, what sizing knows of the model, the GPUs chosen, the image's packages and the prices
they were chosen by. ``modalkit lock FILE`` writes it; `serve`, ``modalkit plan`` and containers read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError, field_serializer, field_validator

from .._names import LOCK_NAME
from .._values import Value
from .._writing import write_whole
from ..errors import DeclarationError, LockError
from ..sizing.cache_layer import CacheLayer
from ..sizing.model import ModelFacts
from ..sizing.parts import WeightPart, layers_of, written_layers
from .text import sealed, unsealed

__all__ = [
    "LOCK_NAME",
    "Lock",
    "LockedFile",
    "LockedImage",
    "LockedModel",
    "LockedService",
    "lock_text",
    "read_lock",
    "write_lock",
]

SCHEMA = 1

_LAYERS = TypeAdapter(tuple[CacheLayer, ...])
_PARTS = TypeAdapter(tuple[WeightPart, ...])


class LockedFile(Value):
    """One file of a model.

    Attributes:
        name: Its path below the model's folder.
        size: Bytes.
        sha256: Of its contents; None where the hub does not tell it.
    """

    name: str
    size: int
    sha256: str | None = None


class LockedModel(Value):
    """The model of a service.

    Attributes:
        id: Hub id, or the folder as the service names it.
        commit: Commit of the hub repository; None for a folder.
        files: Its weights, sorted by name; for a folder every file.
        facts: What sizing knows of it; None where sizing refuses it.
        unsized: Why there are no facts; empty when there are.
    """

    id: str
    commit: str | None = None
    files: tuple[LockedFile, ...] = ()
    facts: ModelFacts | None = None
    unsized: str = ""

    @field_serializer("facts")
    def _packed(self, facts: ModelFacts | None) -> dict[str, object] | None:
        """Layers of the same kind are written once."""
        if facts is None:
            return None
        plain = facts.model_dump(mode="json", exclude_defaults=True, exclude={"cache", "parts"})
        kinds = list(dict.fromkeys(facts.cache))
        written = _LAYERS.dump_python(tuple(kinds), mode="json")
        order = [kinds.index(one) for one in facts.cache]
        packed = plain | {"cache": {"kinds": written, "layers": order}}
        parts = _PARTS.dump_python(facts.parts, mode="json")
        rows = [part | {"layers": written_layers(part["layers"])} for part in parts]
        return packed | ({"parts": rows} if rows else {})

    @field_validator("facts", mode="before")
    @classmethod
    def _unpacked(cls, facts: object) -> object:
        if not isinstance(facts, Mapping) or not isinstance(facts.get("cache"), Mapping):
            return facts
        kinds, layers = facts["cache"]["kinds"], facts["cache"]["layers"]
        parts = [part | {"layers": layers_of(part["layers"])} for part in facts.get("parts", ())]
        cache = tuple(kinds[number] for number in layers)
        return ModelFacts(**{**facts, "cache": cache, "parts": parts})

    @property
    def total_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


class LockedImage(Value):
    """What the image of a service was made of.

    Attributes:
        base: The registry's image, with its tag; None for Modal's own Debian.
        digest: What the tag meant (``sha256:...``); None where no registry was asked or it did not say.
        packages: Every Python package, ``name==version``, each with its hashes after it where known.
        resolved_by: ``"uv"``: the whole tree with hashes; ``"pip"``: the whole tree; ``"declared"``: only
            what the image's declaration pins itself.
    """

    base: str | None = None
    digest: str | None = None
    packages: tuple[str, ...] = ()
    resolved_by: Literal["uv", "pip", "declared", ""] = ""
    python: str = ""


class LockedService(Value):
    """One service.

    Attributes:
        declared: What it declares, as text by name; a difference makes the lock stale.
        model: Its model; None for a service that names none.
        gpu: Choices in order of preference, as Modal writes them; empty on CPU.
        usd_per_hour: List price of each choice when it was chosen.
        prices_read_on: The day of that price list, ``YYYY-MM-DD``; empty where it is the lock's.
        image: Its image.
        beside: What its engine reads beside the model: LoRA adapters, the model that guesses ahead.
    """

    declared: dict[str, str] = Field(default_factory=dict)
    model: LockedModel | None = None
    gpu: tuple[str, ...] = ()
    usd_per_hour: dict[str, float] = Field(default_factory=dict)
    prices_read_on: str = ""
    image: LockedImage = LockedImage()
    beside: tuple[LockedModel, ...] = ()

    def commit_beside(self, name: str) -> str | None:
        """Return the locked commit of something that the engine reads beside the model."""
        return next((one.commit for one in self.beside if one.id == name), None)


class Lock(Value):
    """What ``modalkit.lock`` holds.

    Attributes:
        modalkit: The version that wrote it.
        prices_read_on: The day of the price list used, ``YYYY-MM-DD``; a service that stays as it was
            locked may keep the prices of an older one, and says so.
        services: By ``"chat.py:Chat"``: the file's name, the class's name.
    """

    modalkit: str
    prices_read_on: str
    services: dict[str, LockedService] = Field(default_factory=dict)

    def service(self, file: str | Path, name: str) -> LockedService | None:
        """Return what is locked for a service; None if nothing is.

        Args:
            file: The service's file; only its name counts.
            name: The class's name.
        """
        return self.services.get(f"{Path(file).name}:{name}")

    def priced_on(self, service: LockedService) -> str:
        """Return the day of the price list that a service of it was locked by, ``YYYY-MM-DD``."""
        return service.prices_read_on or self.prices_read_on


def read_lock(path: str | Path, command: str = "modalkit lock FILE") -> Lock:
    """Read a lock.

    Args:
        path: Where it is.
        command: What writes it anew, for messages.

    Raises:
        LockError: There is none; or it was cut off, edited by hand (the message names the line), or
            written by a newer modalkit.
    """
    file = Path(path)
    remedy = f"Run: {command}"
    try:
        text = file.read_bytes().decode().replace("\r\n", "\n")  # git may write lines its own way
    except FileNotFoundError as error:
        msg = f"There is no lock {str(path)!r}. {remedy}"
        raise LockError(msg) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        msg = f"{path} line {line} does not read as UTF-8: it was cut off or edited. {remedy}"
        raise LockError(msg) from error
    except OSError as error:
        msg = f"The lock {str(path)!r} cannot be read: {error}. {remedy}"
        raise LockError(msg) from error
    content = unsealed(text, str(path), remedy)
    if (schema := content.pop("schema", None)) != SCHEMA:
        msg = f"{path} has schema {schema!r}; this modalkit reads {SCHEMA}. Upgrade modalkit, or: {remedy}"
        raise LockError(msg)
    try:
        return Lock.model_validate(content)
    except (DeclarationError, ValidationError) as error:
        msg = f"{path} does not hold what a lock of this modalkit does: {error} {remedy}"
        raise LockError(msg) from error


def write_lock(lock: Lock, path: str | Path) -> None:
    """Write a lock, whole or not at all: until the last moment the old one stays.

    Raises:
        OSError: The folder cannot be written.
    """
    write_whole(Path(path), lock_text(lock).encode(), 0o644)


def lock_text(lock: Lock) -> str:
    """Return a lock as it is written: the same lock gives the same text."""
    return sealed({"schema": SCHEMA, **lock.model_dump(mode="json", exclude_defaults=True)})
