"""Weights held to the lock in the container, before the engine reads them.

A model folder has arrived whole and is verified whole. Of a hub model, what the cache already holds is
verified before the engine starts, and what the engine downloads once it is ready, before any request.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import WeightsError
from ..lock import LockedFile, LockedModel
from ..lock.hashing import hashed
from ..plan import ServicePlan
from .prefetched import Prefetched

__all__ = ["LockedWeights", "hub_snapshot", "weights_of"]

_LOCK = "modalkit lock FILE"  # where the file is not known


@dataclass(frozen=True, slots=True)
class LockedWeights:
    """The weights of one container.

    Attributes:
        model: What is locked.
        folder: Where its files are, or will be.
        how: By size, or by SHA-256 too.
        complete: Whether every file must be there already: a model folder, a prefetched one, not a
            hub's cache.
        remedy: What to do about a file that is not the locked one. Default: as for a folder, or a cache.
        command: What locks it, for messages.
        beside: Adapters and the like, which are verified with it.
    """

    model: LockedModel
    folder: Path
    how: Literal["size", "sha256"]
    complete: bool
    remedy: str = ""
    command: str = _LOCK
    beside: tuple[LockedWeights, ...] = ()

    def verify(self, files: Iterable[LockedFile] | None = None) -> tuple[LockedFile, ...]:
        """Verify files that are there; return those that are not there yet.

        Args:
            files: Some of the locked files. Default: all.

        Raises:
            WeightsError: A file has another size or other contents, or misses from a model folder;
                the message names it and the command to run.
        """
        for one in self.beside if files is None else ():
            one.verify()
        wanted = self.model.files if files is None else tuple(files)
        there = [file for file in wanted if (self.folder / file.name).is_file()]
        missing = tuple(file for file in wanted if file not in there)
        if missing and self.complete:
            raise WeightsError(self._problem(missing[0], "is not there"))
        for file in there:
            size = (self.folder / file.name).stat().st_size
            if size != file.size:
                raise WeightsError(
                    self._problem(file, f"has {size:,} bytes, locked are {file.size:,}")
                )
        if self.how == "sha256":
            self._verify_contents([file for file in there if file.sha256])
        return missing

    def _verify_contents(self, files: list[LockedFile]) -> None:
        found = hashed(self.folder, [file.name for file in files])
        for file, now in zip(files, found, strict=True):
            if now.sha256 != file.sha256:
                told = f"has SHA-256 {now.sha256}, locked is {file.sha256}"
                raise WeightsError(self._problem(file, told))

    def _problem(self, file: LockedFile, what: str) -> str:
        remedy = self.remedy or (
            f"Restore the folder, or lock what it holds now: {self.command}."
            if self.complete
            else "Remove it from the cache, so that it is downloaded again, or lock another "
            f"commit: {self.command} --upgrade."
        )
        return f"{file.name} of {self.model.id!r} in {str(self.folder)!r} {what}. {remedy}"


def weights_of(
    plan: ServicePlan, prefetched: Prefetched | None = None, command: str = _LOCK
) -> LockedWeights | None:
    """Return the weights a plan's container must hold to its lock; None if nothing is locked.

    Args:
        plan: The plan.
        prefetched: Where its model was found prefetched; None where it is not.
        command: What locks the service, for messages.
    """
    locked = plan.locked.model if plan.locked else None
    if locked is None or not locked.files or plan.model is None:
        return None
    if prefetched is not None:
        remedy = f"Run: {prefetched.command} --again"
        beside = tuple(
            LockedWeights(one, folder, plan.verify, complete=True, remedy=remedy)
            for one in (plan.locked.beside if plan.locked else ())
            if (folder := prefetched.beside.get(one.id)) is not None
        )
        return LockedWeights(
            locked, prefetched.folder, plan.verify, complete=True, remedy=remedy, beside=beside
        )
    if locked.commit is None:
        folder = Path(plan.model)
        return LockedWeights(locked, folder, plan.verify, complete=True, command=command)
    folder = hub_snapshot(locked.id, locked.commit)
    return LockedWeights(locked, folder, plan.verify, complete=False, command=command)


def hub_snapshot(model: str, commit: str) -> Path:
    """Return where the hub's cache has a model at a commit (huggingface_hub's own layout)."""
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()
    return cache / f"models--{model.replace('/', '--')}" / "snapshots" / commit
