"""What the model hub says of a model: its commit, its config, its files with their hashes; no weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HubError
from ..lock import LockedFile
from ..lock.weight_files import WEIGHT_FILES
from ..sizing.mistral_format import PARAMS, as_config
from ..sizing.model import ModelFacts, model_facts
from ..sizing.stored import Stored
from .connection import TIMEOUT_S, explained, hub_api, is_offline
from .messages import incomplete

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["HubFile", "HubListing", "HubModel", "find_model", "list_files"]

_CONFIG, _DESCRIBED = "config.json", "hf_quant_config.json"


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model at one commit of its repository.

    Attributes:
        id: Such as ``"Qwen/Qwen3-8B"``.
        commit: What the revision meant when the hub was asked.
        config: Its parsed ``config.json``.
        described: Its parsed ``hf_quant_config.json``, if it has one.
        weights: The weight files an engine loads, sorted by name: those the index names, and no
            others. Offline, those of them that are in the cache.
        missing: Files that the index names and that are not there.
        offline: Whether the cache of this machine was asked instead of the hub.
    """

    id: str
    commit: str
    config: dict[str, Any]
    described: dict[str, Any] | None
    weights: tuple[LockedFile, ...]
    missing: tuple[str, ...] = ()
    offline: bool = False

    def whole_weights(self) -> tuple[LockedFile, ...]:
        """Return ``weights`` for whoever pins them: all, or none at all.

        Raises:
            HubError: The index names a file that is not there, or the cache has no weights.
        """
        if self.missing or (self.offline and not self.weights):
            raise HubError(incomplete(self.id, self.commit, self.missing, offline=self.offline))
        return self.weights

    def facts(self, headers: Stored | None = None) -> ModelFacts:
        """Size it.

        Args:
            headers: What its files hold by their headers, where they have been read; see `read_headers`.
                Default: the files' sizes.

        Raises:
            SizingError: An architecture this version does not know.
        """
        stored = headers or Stored(self._weight_bytes())
        return model_facts(self.config, name=self.id, described=self.described, stored=stored)

    def _weight_bytes(self) -> int:
        """Bytes of the weight files; 0 for other formats than safetensors, which hold more than weights."""
        safe = all(file.name.endswith(".safetensors") for file in self.weights)
        if self.missing or not safe:
            return 0
        return sum(file.size for file in self.weights)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository.

    Attributes:
        name: Its path.
        size: Bytes.
        sha256: Of its contents; None for small files, which the hub keeps in git.
        blob_id: What git calls its contents; None where the hub does not tell.
    """

    name: str
    size: int
    sha256: str | None
    blob_id: str | None


@dataclass(frozen=True, slots=True)
class HubListing:
    """Every file of a repository at one commit."""

    commit: str
    files: tuple[HubFile, ...]


def list_files(model: str, revision: str | None = None) -> HubListing:
    """Ask the hub for a model's files; nothing of them is fetched.

    Args:
        model: Hub id, ``"org/name"``.
        revision: Branch, tag or commit. Default: the main branch.

    Raises:
        HubError: As `find_model`.
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    with explained(model, revision):
        return _listed(hub_api(), model, revision)


def _listed(api: HfApi, model: str, revision: str | None) -> HubListing:
    info = api.model_info(model, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    files = tuple(
        HubFile(
            name=entry.rfilename,
            size=entry.size or 0,
            sha256=entry.lfs.sha256 if entry.lfs else None,
            blob_id=entry.blob_id if not entry.lfs else None,
        )
        for entry in info.siblings or ()
    )
    return HubListing(str(info.sha), files)


def find_model(model: str, revision: str | None = None) -> HubModel:
    """Ask the hub for a model; its config files go to the hub's usual cache.

    Args:
        model: Hub id, ``"org/name"``.
        revision: Branch, tag or commit. Default: the main branch.

    Raises:
        HubError: Not found, gated, the hub is down, too many requests; or offline and not cached.
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    with explained(model, revision):
        offline = is_offline()
        source = _Cached(model, revision) if offline else _Online(model, revision)
        config = _config(source)
        if config is None:
            msg = f"{model!r} at {source.commit[:12]} has no config.json, so it is no model an engine loads."
            raise HubError(msg)
        described = source.read(_DESCRIBED)
        weights, missing = _weights(source)
        return HubModel(model, source.commit, config, described, weights, missing, offline)


def _config(source: _Online | _Cached) -> dict[str, Any] | None:
    """The config: transformers' own, else Mistral's in its words."""
    if (config := source.read(_CONFIG)) is not None:
        return config
    params = source.read(PARAMS)
    return as_config(params) if params is not None else None


def _weights(source: _Online | _Cached) -> tuple[tuple[LockedFile, ...], tuple[str, ...]]:
    """The files an engine loads, and those that the index names and the source lacks."""
    for single in WEIGHT_FILES:
        index = f"{single}.index.json"
        if (found := source.read(index)) is not None:
            named = found.get("weight_map")
            if not isinstance(named, Mapping) or not named:
                msg = f"{index} of the model names no files: it has no 'weight_map'."
                raise HubError(msg)
            names = sorted(set(map(str, named.values())))
            files = {name: source.file(name) for name in names}
            there = tuple(file for file in files.values() if file)
            return there, tuple(name for name, file in files.items() if not file)
        if file := source.file(single):
            return (file,), ()
    return (), ()


class _Online:
    """A repository as the hub describes it now."""

    def __init__(self, model: str, revision: str | None) -> None:
        self._api, self._model, self._asked = hub_api(), model, revision
        listing = _listed(self._api, model, revision)
        self.commit = listing.commit
        self._files = {
            file.name: LockedFile(name=file.name, size=file.size, sha256=file.sha256)
            for file in listing.files
        }

    def file(self, name: str) -> LockedFile | None:
        return self._files.get(name)

    def read(self, name: str) -> dict[str, Any] | None:
        if name not in self._files:
            return None
        # By the name that was asked for, so that the cache knows it offline too.
        path = self._api.hf_hub_download(self._model, name, revision=self._asked)
        if self.commit not in Path(path).parts:  # it has moved since
            path = self._api.hf_hub_download(self._model, name, revision=self.commit)
        return _parsed(path)


class _Cached:
    """A repository as far as it is on this machine."""

    def __init__(self, model: str, revision: str | None) -> None:
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - an extra brings it

        self._model, self._look = model, try_to_load_from_cache
        looked = (
            try_to_load_from_cache(model, name, revision=revision) for name in (_CONFIG, PARAMS)
        )
        found = next((path for path in looked if isinstance(path, str)), None)
        if found is None:
            at = f" at {revision!r}" if revision else ""
            msg = (
                f"{model!r}{at} is not in the cache of this machine, and HF_HUB_OFFLINE is set. Unset it "
                "once to fetch its config, or name a folder that holds it."
            )
            raise HubError(msg)
        self.commit = Path(found).parent.name

    def file(self, name: str) -> LockedFile | None:
        found = self._look(self._model, name, revision=self.commit)
        if not isinstance(found, str):
            return None
        blob = Path(found).resolve()  # the cache names large files by their SHA-256
        digest = blob.name if len(blob.name) == 64 else _sha256(blob)  # noqa: PLR2004
        return LockedFile(name=name, size=blob.stat().st_size, sha256=digest)

    def read(self, name: str) -> dict[str, Any] | None:
        found = self._look(self._model, name, revision=self.commit)
        return _parsed(found) if isinstance(found, str) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parsed(path: str) -> dict[str, Any]:
    try:
        loaded = json.loads(Path(path).read_text("utf-8"))
    except ValueError as error:
        msg = f"{Path(path).name} of the model does not read as JSON: {error}."
        raise HubError(msg) from error
    if not isinstance(loaded, dict):
        msg = (
            f"{Path(path).name} of the model must hold a JSON object, got {type(loaded).__name__}."
        )
        raise HubError(msg)
    return loaded
