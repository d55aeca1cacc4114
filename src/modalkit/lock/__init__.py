"""What exactly a deploy will bring, found out once: the lock and what reads it."""

from __future__ import annotations

from .lockfile import (
    LOCK_NAME,
    Lock,
    LockedFile,
    LockedImage,
    LockedModel,
    LockedService,
    lock_text,
    read_lock,
    write_lock,
)

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
