"""Filling a cache with one model: list, choose, look for room, fetch, link, and write the manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ..errors import WeightsError
from ..lock import LockedFile
from .fetching import CONNECTIONS, Fetching
from .files import SourceFile, total_bytes
from .layout import ref_path, repository_path, snapshot_path
from .manifest import (
    Manifest,
    ManifestFile,
    blob_sizes,
    problem_with,
    read_manifest,
    write_manifest,
)
from .parts import disk_problem
from .progress import Meter, Progress
from .selection import needed_files
from .sources import Source, read_json
from .turns import turn
from .verified import Verified
from .wanted import MAIN, Wanted, check_hub_id

__all__ = ["fill", "nothing_to_do"]

# Directory entries, marks and the manifest itself.
_SPARE_BYTES = 16 << 20


def fill(
    root: Path,
    wanted: Wanted,
    open_source: Callable[[], Source],
    *,
    again: bool = False,
    connections: int = CONNECTIONS,
) -> Iterator[Progress]:
    """Make a cache hold a model, telling how far it is; the last that is told has the stage ``done``.

    What is there already is not fetched again: whole files, and the parts that a run before this one
    left behind, even one that was killed. Until the end there is no manifest, so nothing serves from it.

    Args:
        root: The cache, where its Volume is mounted.
        wanted: The model.
        open_source: Opens where it comes from, if it is needed.
        again: Ask the source and read every file, even where the manifest says that all is there.
        connections: Ranges that are fetched at once.

    Raises:
        HubError: The source does not give what is wanted.
        WeightsError: A file is not the one that is locked, or the disk is full.
    """
    check_hub_id(wanted.model)
    with turn(root, wanted.model) as waiting:
        for _ in waiting:
            yield Progress(wanted.model, "waiting", note="Another prefetch is filling this.")
        manifest = None if again else _complete(root, wanted)
        if manifest is None:
            yield from _filled(root, wanted, open_source(), connections, again=again)
        else:
            yield nothing_to_do(manifest)


def _filled(
    root: Path, wanted: Wanted, source: Source, connections: int, *, again: bool
) -> Iterator[Progress]:
    yield Progress(wanted.model, "listing", note=f"Asking {source.origin} for its files.")
    files = _chosen(wanted, source)
    with _disk_explained(root):
        yield from _fetched(root, wanted, source, files, connections, again=again)


def _fetched(
    root: Path,
    wanted: Wanted,
    source: Source,
    files: Sequence[SourceFile],
    connections: int,
    *,
    again: bool,
) -> Iterator[Progress]:
    meter = Meter(wanted.model, total_bytes(files), len(files))
    verified = Verified(root, wanted.model, source.origin, trusting=not again)
    missing = []
    for file in files:
        if verified.has(file):
            meter.keep(file.size)
            meter.finish_file()
        else:
            missing.append(file)
        yield meter.now("checking")
    verified.check_room(missing, _SPARE_BYTES)
    fetching = Fetching(
        source,
        missing,
        verified=verified,
        locked=_locked_digests(wanted),
        meter=meter,
        connections=connections,
    )
    for _ in fetching.run():
        yield meter.now("fetching")
    manifest = _manifest(wanted, source.commit, [verified.entry(file) for file in files])
    _link(root, manifest)
    write_manifest(root, manifest)
    verified.clear_parts()
    yield meter.now("done")


@contextmanager
def _disk_explained(root: Path) -> Iterator[None]:
    """Turn what the cache's disk refuses, at whatever file, into what a person can do."""
    try:
        yield
    except OSError as error:
        where = Path(error.filename2 or error.filename or root / "it")
        where = where if where.is_absolute() else root / where
        raise WeightsError(disk_problem(where.name, where, error)) from error


def _chosen(wanted: Wanted, source: Source) -> tuple[SourceFile, ...]:
    by_name = {file.name: file for file in source.files()}
    files = needed_files(
        by_name.values(),
        lambda name: read_json(source, by_name[name]),
        include=wanted.include,
        exclude=wanted.exclude,
    )
    chosen = {file.name: file for file in files}
    for locked in wanted.locked:
        _check_locked(locked, chosen.get(locked.name), source.origin)
    return files


def _check_locked(locked: LockedFile, found: SourceFile | None, origin: str) -> None:
    """Refuse another file than the locked one before a byte of it is fetched."""
    if found is None:
        problem = "is not there, or excluded"
    elif found.size != locked.size:
        problem = f"has {found.size:,} bytes, locked are {locked.size:,}"
    elif found.sha256 and locked.sha256 and found.sha256 != locked.sha256:
        problem = f"has SHA-256 {found.sha256}, locked is {locked.sha256}"
    else:
        return
    msg = f"{locked.name} from {origin} {problem}. Lock what is there now: modalkit lock FILE --upgrade."
    raise WeightsError(msg)


def _complete(root: Path, wanted: Wanted) -> Manifest | None:
    manifest = read_manifest(root, wanted)
    if manifest is None or problem_with(manifest, wanted, blob_sizes(root, wanted.model)):
        return None
    return manifest


def nothing_to_do(manifest: Manifest) -> Progress:
    """Return what is told of a model that is there already."""
    size, count = manifest.total_bytes, len(manifest.files)
    note = f"Everything is there since {manifest.finished_at}; nothing was fetched."
    return Progress(
        manifest.model,
        "done",
        done_bytes=size,
        total_bytes=size,
        done_files=count,
        total_files=count,
        note=note,
    )


def _locked_digests(wanted: Wanted) -> dict[str, str]:
    return {file.name: file.sha256 for file in wanted.locked if file.sha256}


def _manifest(wanted: Wanted, commit: str | None, files: Sequence[ManifestFile]) -> Manifest:
    against: Literal["lock", "hub", "nothing"]
    against = "lock" if wanted.locked else "hub" if commit else "nothing"
    return Manifest(
        model=wanted.model,
        asked=wanted.asked,
        commit=commit or _contents(files),
        source=wanted.source_text,
        include=wanted.include,
        exclude=wanted.exclude,
        checked_against=against,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=tuple(files),
    )


def _contents(files: Iterable[ManifestFile]) -> str:
    """A commit for what has none: a name of these files with these contents."""
    told = "\n".join(f"{file.sha256} {file.name}" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()[:40]


def _link(root: Path, manifest: Manifest) -> None:
    """Make the folder an engine loads, of links to the contents, and say which commit was meant."""
    folder = root / snapshot_path(manifest.model, manifest.commit)
    blobs = root / repository_path(manifest.model) / "blobs"
    for file in manifest.files:
        link = folder / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        _replace_link(link, os.path.relpath(blobs / file.blob, link.parent))
    for revision in {MAIN, manifest.asked} - {manifest.commit}:
        ref = root / ref_path(manifest.model, revision)
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(manifest.commit)


def _replace_link(link: Path, target: str) -> None:
    draft = link.with_name(f".{link.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(link)
