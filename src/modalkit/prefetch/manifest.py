"""The manifest: what a cache holds of a model, written when all of it is there and verified.

A cache without one is empty or half filled, whatever files it has. Reading it and looking at the sizes
takes milliseconds; the digests in it are compared with the lock's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from .._values import Value
from ..errors import DeclarationError
from .layout import blob_path, manifest_path
from .wanted import Wanted

__all__ = [
    "Manifest",
    "ManifestFile",
    "SizeOf",
    "blob_sizes",
    "parse_manifest",
    "problem_with",
    "read_manifest",
    "write_manifest",
]

FORMAT = 1

SizeOf = Callable[[str], int | None]
"""Gives the bytes of a blob by its name; None where it is not there."""


class ManifestFile(Value):
    """One file.

    Attributes:
        name: Its path below the model's folder.
        size: Bytes.
        sha256: Of its contents, as they were read while they arrived.
        blob: The name of its contents in the cache.
    """

    name: str
    size: int
    sha256: str
    blob: str


class Manifest(Value):
    """What a cache holds of one model.

    Attributes:
        format: Version of this description.
        model: Hub id.
        asked: The revision the service asks for; ``"main"`` where it names none.
        commit: What that meant.
        source: Where the files came from.
        include: Patterns of files that were wanted besides.
        exclude: Patterns of files that were left out.
        checked_against: What the digests were compared with: the lock, the hub's own, or nothing.
        finished_at: When it was written, UTC.
        files: Every file, sorted by name.
    """

    format: int = FORMAT
    model: str
    asked: str
    commit: str
    source: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    checked_against: Literal["lock", "hub", "nothing"]
    finished_at: str
    files: tuple[ManifestFile, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


def parse_manifest(text: str | bytes) -> Manifest | None:
    """Return a manifest; None for text that is none, or that another version of modalkit wrote."""
    try:
        found = Manifest.model_validate_json(text)
    except (ValidationError, DeclarationError):
        return None
    return found if found.format == FORMAT else None


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write a manifest, whole or not at all.

    Raises:
        OSError: The cache cannot be written.
    """
    target = root / manifest_path(manifest.model, manifest.asked)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(manifest.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(target)


def problem_with(manifest: Manifest, wanted: Wanted, size_of: SizeOf) -> str | None:
    """Return why a manifest does not say that everything wanted is there; None if it does."""
    if manifest.source != wanted.source_text:
        return f"it was filled from {manifest.source}, and {wanted.source_text} is declared now"
    if (manifest.include, manifest.exclude) != (wanted.include, wanted.exclude):
        return "other files are included or excluded now"
    if (different := _unlike_the_lock(manifest, wanted)) is not None:
        return different
    for file in manifest.files:
        size = size_of(file.blob)
        if size != file.size:
            told = "is missing" if size is None else f"has {size:,} bytes instead of {file.size:,}"
            return f"{file.name} {told}"
    return None


def _unlike_the_lock(manifest: Manifest, wanted: Wanted) -> str | None:
    there = {file.name: file for file in manifest.files}
    for locked in wanted.locked:
        found = there.get(locked.name)
        if found is None:
            return f"{locked.name} is locked and not in the manifest"
        if found.size != locked.size or (locked.sha256 and found.sha256 != locked.sha256):
            return f"{locked.name} is not the locked one"
    return None


def blob_sizes(root: Path, model: str) -> SizeOf:
    """Return how large blobs are in a cache that is mounted here."""

    def size_of(blob: str) -> int | None:
        try:
            return (root / blob_path(model, blob)).stat().st_size
        except OSError:
            return None

    return size_of


def read_manifest(root: Path, wanted: Wanted) -> Manifest | None:
    """Return the manifest of what is wanted; None if there is none that reads."""
    try:
        return parse_manifest((root / manifest_path(wanted.model, wanted.asked)).read_bytes())
    except OSError:
        return None
