"""Mounts: sets of files with their paths, by content."""

from __future__ import annotations

from dataclasses import dataclass

from ..ids import content_id
from ..protocol import api
from .records import Records

__all__ = ["Mounts"]

_KIND = "mount"


@dataclass
class Mounts:
    """The mounts that clients made; the bytes of their files are in the `FileStore`."""

    records: Records

    def files(self, mount_id: str) -> list[api.MountFile]:
        """Return a mount's files; a mount made elsewhere (Modal's own client) has none here."""
        record = self.records.by_id(mount_id)
        if record is None:
            return []
        return list(api.MountGetOrCreateRequest.FromString(record.body).files)

    def name(self, mount_id: str) -> str:
        """Return the name a mount was published under; empty for one without."""
        record = self.records.by_id(mount_id) if mount_id else None
        if record is None:
            return ""
        return str(api.MountGetOrCreateRequest.FromString(record.body).deployment_name)

    def keep(self, files: list[api.MountFile], name: str) -> str:
        """Keep a set of files, published under a name or none; return its id."""
        kept = api.MountGetOrCreateRequest(
            files=sorted(files, key=lambda entry: entry.filename), deployment_name=name
        )
        body = kept.SerializeToString(deterministic=True)
        mount_id = content_id("mo", body)
        if self.records.by_id(mount_id) is None:
            self.records.put(_KIND, "", mount_id, mount_id, body)
        return mount_id
