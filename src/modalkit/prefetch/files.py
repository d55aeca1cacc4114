"""A file of a model as its source lists it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["SourceFile", "total_bytes"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that a source has.

    Attributes:
        name: Its path below the model's folder.
        size: Bytes.
        sha256: Of its contents; None where the source does not tell it.
        blob_id: What git calls its contents, a SHA-1; None where the source does not tell it.
        version: What changes when the file does, where there is no digest: its time of change.
    """

    name: str
    size: int
    sha256: str | None = None
    blob_id: str | None = None
    version: str | None = None


def total_bytes(files: Iterable[SourceFile]) -> int:
    """Return the bytes of some files."""
    return sum(file.size for file in files)
