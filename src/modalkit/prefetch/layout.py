"""Where things are in a cache: paths from its root, the same in a container and through Modal's API.

Weights lie as ``huggingface_hub`` keeps them, because then everything that reads its cache finds them
by the hub id with ``HF_HUB_OFFLINE``: engines, adapters, a custom model's ``from_pretrained``. What
modalkit itself needs is beside it.

    huggingface/hub/models--org--name/blobs/<sha>            contents, once whatever commits share them
                                     /snapshots/<commit>/    links to them, by the files' names
                                     /refs/<revision>        the commit a branch meant
    modalkit/manifests/org--name@<revision>.json             written last: what is there and verified
    modalkit/parts/org--name/                                what is still arriving
"""

from __future__ import annotations

from pathlib import PurePosixPath

__all__ = [
    "blob_path",
    "manifest_path",
    "parts_path",
    "ref_path",
    "repository_path",
    "snapshot_path",
]

_HUB = PurePosixPath("huggingface", "hub")
_OWN = PurePosixPath("modalkit")


def repository_path(model: str) -> PurePosixPath:
    """Return the folder of a model."""
    return _HUB / f"models--{_flat(model)}"


def snapshot_path(model: str, commit: str) -> PurePosixPath:
    """Return the folder that an engine loads."""
    return repository_path(model) / "snapshots" / commit


def blob_path(model: str, blob: str) -> PurePosixPath:
    """Return where contents are, by their digest."""
    return repository_path(model) / "blobs" / blob


def ref_path(model: str, revision: str) -> PurePosixPath:
    """Return the file that says which commit a branch or tag meant."""
    return repository_path(model) / "refs" / revision


def manifest_path(model: str, asked: str) -> PurePosixPath:
    """Return the manifest of a model at the revision that the service asks for."""
    return _OWN / "manifests" / f"{_flat(model)}@{_flat(asked)}.json"


def parts_path(model: str) -> PurePosixPath:
    """Return the folder of what is still arriving."""
    return _OWN / "parts" / _flat(model)


def _flat(name: str) -> str:
    return name.replace("/", "--")
