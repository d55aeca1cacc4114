"""Volumes: a folder each, shared at once by every container that mounts it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from grpclib.const import Status

from .ids import new_id
from .protocol import api, refuse
from .state import Record, Records

__all__ = ["Volumes"]

_KIND = "volume"


class Volumes:
    """The volumes and buckets of a state folder.

    Args:
        folder: Holds one folder per volume.
        buckets: Holds one folder per cloud bucket.
    """

    def __init__(self, folder: Path, buckets: Path, records: Records) -> None:
        self._folder = folder
        self._buckets = buckets
        self._records = records
        self._ephemeral: dict[str, api.VolumeMetadata] = {}

    def create(self, name: str, environment: str, version: api.VolumeFsVersion.ValueType) -> Record:
        """Make a named volume."""
        volume_id = new_id("vo")
        (self._folder / volume_id).mkdir()
        body = api.VolumeMetadata(name=name, version=version or api.VOLUME_FS_VERSION_V1)
        return self._records.put(_KIND, environment, name, volume_id, body.SerializeToString())

    def create_ephemeral(self, version: api.VolumeFsVersion.ValueType) -> str:
        """Make a volume that ends with the plane."""
        volume_id = new_id("vo")
        (self._folder / volume_id).mkdir()
        self._ephemeral[volume_id] = api.VolumeMetadata(version=version or api.VOLUME_FS_VERSION_V1)
        return volume_id

    def find(self, name: str, environment: str) -> Record | None:
        """Return a named volume."""
        return self._records.by_name(_KIND, environment, name)

    def list_all(self, environment: str) -> list[Record]:
        """Return an environment's volumes."""
        return self._records.list_all(_KIND, environment)

    def metadata(self, volume_id: str) -> api.VolumeMetadata:
        """Describe a volume, or refuse the request when there is none."""
        if volume_id in self._ephemeral:
            return self._ephemeral[volume_id]
        record = self._records.by_id(volume_id)
        if record is None or record.kind != _KIND:
            refuse(Status.NOT_FOUND, f"There is no volume {volume_id!r} in this local Modal.")
        metadata: api.VolumeMetadata = api.VolumeMetadata.FromString(record.body)
        metadata.name = record.name
        metadata.creation_info.created_at = record.created_at
        return metadata

    def rename(self, volume_id: str, name: str) -> None:
        """Give a volume another name."""
        self._records.rename(volume_id, name)

    def delete(self, volume_id: str) -> None:
        """Remove a volume and its files."""
        self.metadata(volume_id)
        self._records.delete(volume_id)
        self._ephemeral.pop(volume_id, None)
        shutil.rmtree(self._folder / volume_id, ignore_errors=True)

    def close(self) -> None:
        """Remove the ephemeral volumes."""
        for volume_id in list(self._ephemeral):
            self.delete(volume_id)

    def folder(self, volume_id: str, sub_path: str = "") -> Path:
        """Return a volume's folder on this machine, or one below it."""
        self.metadata(volume_id)
        path = self._inside(volume_id, sub_path)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def bucket(self, name: str, prefix: str) -> Path:
        """Return the folder that stands for a cloud bucket, or a prefix in it."""
        path = self._buckets / name / prefix.strip("/")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def entries(self, volume_id: str, path: str, *, recursive: bool) -> Iterator[api.FileEntry]:
        """List a folder of a volume, or the one file at that path."""
        start = self.existing(volume_id, path)
        root = self._folder / volume_id
        if not start.is_dir():
            yield _entry(start, root)
            return
        for folder, names, files in os.walk(start):
            names.sort()
            for name in sorted(names + files):
                yield _entry(Path(folder) / name, root)
            if not recursive:
                return

    def existing(self, volume_id: str, path: str) -> Path:
        """Return where a path of a volume is on this machine, or refuse when nothing is there."""
        found = self._inside(volume_id, path)
        if not found.exists() and not found.is_symlink():
            refuse(Status.NOT_FOUND, f"No such file or directory: {path!r}")
        return found

    def target(self, volume_id: str, path: str, *, overwrite: bool) -> Path:
        """Return where to write a path of a volume; its parent exists then."""
        found = self._inside(volume_id, path)
        if found.is_dir():
            refuse(Status.ALREADY_EXISTS, f"{path!r} is a directory in the volume.")
        if found.exists() and not overwrite:
            refuse(Status.ALREADY_EXISTS, f"{path!r} already exists; use force to overwrite it.")
        found.parent.mkdir(parents=True, exist_ok=True)
        return found

    def remove(self, volume_id: str, path: str, *, recursive: bool) -> None:
        """Remove a file, or with ``recursive`` a folder."""
        found = self.existing(volume_id, path)
        if not found.is_dir() or found.is_symlink():
            found.unlink()
        elif recursive:
            shutil.rmtree(found)
        else:
            refuse(
                Status.INVALID_ARGUMENT, f"{path!r} is a directory; pass recursive to remove it."
            )

    def copy(
        self, volume_id: str, sources: list[str], destination: str, *, recursive: bool
    ) -> None:
        """Copy within a volume, as ``cp`` does."""
        target = self._inside(volume_id, destination)
        if len(sources) > 1 and not target.is_dir():
            refuse(Status.INVALID_ARGUMENT, f"{destination!r} is not a directory.")
        for path in sources:
            source = self.existing(volume_id, path)
            final = target / source.name if target.is_dir() else target
            if source.is_dir():
                if not recursive:
                    refuse(Status.INVALID_ARGUMENT, f"{path!r} is a directory; pass recursive.")
                shutil.copytree(source, final, dirs_exist_ok=True)
            else:
                final.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, final)

    def _inside(self, volume_id: str, path: str) -> Path:
        root = self._folder / volume_id
        found = Path(os.path.normpath(root / path.lstrip("/")))
        if not found.is_relative_to(root):
            refuse(Status.INVALID_ARGUMENT, f"{path!r} is outside the volume.")
        return found


def _entry(path: Path, root: Path) -> api.FileEntry:
    status = path.lstat()
    kind = api.FileEntry.FileType.FILE
    if path.is_symlink():
        kind = api.FileEntry.FileType.SYMLINK
    elif path.is_dir():
        kind = api.FileEntry.FileType.DIRECTORY
    return api.FileEntry(
        path=str(path.relative_to(root)),
        type=kind,
        mtime=int(status.st_mtime),
        size=status.st_size if kind == api.FileEntry.FileType.FILE else 0,
    )
