"""What a cache holds of a model whose contents are known to be right."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..errors import WeightsError
from ..lock.hashing import hashed
from .files import SourceFile, total_bytes
from .layout import manifest_path, parts_path, repository_path
from .manifest import ManifestFile, parse_manifest
from .parts import Part, part_name

__all__ = ["Verified"]

_LOG = "verified"
_HEX = 64  # letters of a SHA-256


class Verified:
    """The contents of one model that were read and found right: by this run, or by one before it.

    Args:
        root: The cache.
        model: Hub id.
        origin: Where its files come from.
        trusting: Whether to believe what earlier runs noted. Default true.
    """

    def __init__(self, root: Path, model: str, origin: str, *, trusting: bool = True) -> None:
        self._origin = origin
        self.blobs = root / repository_path(model) / "blobs"
        self.parts = root / parts_path(model)
        self.parts.mkdir(parents=True, exist_ok=True)
        self._by_name: dict[str, ManifestFile] = {}
        self._digests = _manifested(root, model) if trusting else {}
        self._arrived = _logged(self.parts / _LOG) if trusting else {}

    def has(self, file: SourceFile) -> bool:
        """Whether a file is here with the right contents; what has its name and is wrong is removed."""
        blob, digest = self._arrived.get(part_name(file, self._origin), ("", None))
        blob = blob or file.sha256 or file.blob_id or ""
        path = self.blobs / blob
        if not path.is_file():
            return False
        if path.stat().st_size != file.size:
            digest = None
        else:
            digest = digest or self._digests.get(blob) or _read(path, file)
        if digest is None:
            path.unlink()
            return False
        self._note(file, digest, blob)
        return True

    def keep(self, part: Part, sha256: str) -> None:
        """Take in a part that is whole and was found right."""
        blob = part.file.sha256 or part.file.blob_id or sha256
        part.keep(self.blobs / blob)
        with (self.parts / _LOG).open("a", encoding="utf-8") as log:
            log.write(f"{part_name(part.file, self._origin)} {blob} {sha256}\n")
        self._note(part.file, sha256, blob)

    def entry(self, file: SourceFile) -> ManifestFile:
        """Return what the manifest says of a file that is here."""
        return self._by_name[file.name]

    def check_room(self, missing: Iterable[SourceFile], spare_bytes: int) -> None:
        """Refuse to begin what will not fit.

        Raises:
            WeightsError: The disk has too little room for what is missing.
        """
        usage = shutil.disk_usage(self.parts)
        arrived = sum(path.stat().st_blocks * 512 for path in self.parts.glob("*.data"))
        needed = total_bytes(missing) - arrived + spare_bytes
        if usage.total and needed > usage.free:  # some network file systems tell no sizes
            msg = (
                f"{needed:,} bytes are needed at {str(self.parts.parent)!r}, and {usage.free:,} are free. "
                "Make room, or use another Volume: WeightCache('another')."
            )
            raise WeightsError(msg)

    def clear_parts(self) -> None:
        """Remove what arrived and is not needed any more."""
        shutil.rmtree(self.parts, ignore_errors=True)

    def _note(self, file: SourceFile, sha256: str, blob: str) -> None:
        self._by_name[file.name] = ManifestFile(
            name=file.name, size=file.size, sha256=sha256, blob=blob
        )


def _read(path: Path, file: SourceFile) -> str | None:
    """The SHA-256 of contents that are right; an engine fetched them once, nobody knows how."""
    (found,) = hashed(path.parent, [path.name])
    right = found.sha256 == file.sha256 if file.sha256 else _git_name(path) == file.blob_id
    return found.sha256 if right else None


def _git_name(path: Path) -> str:
    content = path.read_bytes()  # the hub keeps only small files in git
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _manifested(root: Path, model: str) -> dict[str, str]:
    """Digests by blob from every manifest of the model: commits share most of their contents."""
    pattern = manifest_path(model, "*")
    found: dict[str, str] = {}
    for path in (root / pattern.parent).glob(pattern.name):
        with suppress(OSError):
            if (manifest := parse_manifest(path.read_bytes())) is not None:
                found |= {file.blob: file.sha256 for file in manifest.files}
    return found


def _logged(path: Path) -> dict[str, tuple[str, str]]:
    """Blob and digest by part from the log of a run that did not end; its last line may be cut off."""
    found: dict[str, tuple[str, str]] = {}
    with suppress(OSError):
        for line in path.read_text("utf-8").splitlines():
            match line.split():
                case [part, blob, sha256] if len(sha256) == _HEX:
                    found[part] = (blob, sha256)
    return found
