"""What the model hub says of a model: its commit, its config, its files with their hashes; no weights.

Asked through ``huggingface_hub``, so that ``HF_ENDPOINT``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` mean what
they mean everywhere. The token comes from ``HF_TOKEN`` in the environment alone, and is in no message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HubError, MissingExtraError
from ..lock import LockedFile
from ..sizing.model import ModelFacts, model_facts
from .messages import down, gated, no_revision, not_found, refused

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["HubFile", "HubListing", "HubModel", "find_model", "list_files", "stored_parameters"]

_CONFIG, _DESCRIBED = "config.json", "hf_quant_config.json"
# Where weights are, in the order engines look for them; an index names its files.
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT_S = 30.0


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
    """

    id: str
    commit: str
    config: dict[str, Any]
    described: dict[str, Any] | None
    weights: tuple[LockedFile, ...]

    def facts(self) -> ModelFacts:
        """Size it.

        Raises:
            SizingError: An architecture this version does not know.
        """
        return model_facts(
            self.config, name=self.id, described=self.described, stored=self._weight_bytes()
        )

    def _weight_bytes(self) -> int:
        """Bytes of the weight files; 0 for other formats than safetensors, which hold more than weights."""
        if not all(file.name.endswith(".safetensors") for file in self.weights):
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
    with _explained(model, revision):
        return _listed(_api(), model, revision)


def _listed(api: HfApi, model: str, revision: str | None) -> HubListing:
    info = api.model_info(model, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
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
    with _explained(model, revision):
        source = _Cached(model, revision) if _offline() else _Online(model, revision)
        config = source.read(_CONFIG)
        if config is None:
            msg = f"{model!r} at {source.commit[:12]} has no config.json, so it is no model an engine loads."
            raise HubError(msg)
        described = source.read(_DESCRIBED)
        return HubModel(model, source.commit, config, described, _weights(source))


def stored_parameters(model: HubModel) -> int | None:
    """Return the parameters that a single safetensors file says it holds, read from its header only.

    A sharded model would take a request a file: None. Tied weights that are stored twice count twice.

    Raises:
        HubError: As `find_model`.
    """
    if [file.name for file in model.weights] != ["model.safetensors"] or _offline():
        return None
    with _explained(model.id, model.commit):
        header = _api().parse_safetensors_file_metadata(
            model.id, "model.safetensors", revision=model.commit, timeout=_TIMEOUT_S
        )
        return sum(header.parameter_count.values())


def _weights(source: _Online | _Cached) -> tuple[LockedFile, ...]:
    for index in _INDEXES:
        if (found := source.read(index)) is not None:
            named = found.get("weight_map")
            names = sorted(set(named.values())) if isinstance(named, Mapping) else []
            return tuple(file for name in names if (file := source.file(name)))
    for name in _SINGLES:
        if file := source.file(name):
            return (file,)
    return ()


class _Online:
    """A repository as the hub describes it now."""

    def __init__(self, model: str, revision: str | None) -> None:
        self._api, self._model, self._asked = _api(), model, revision
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
        found = try_to_load_from_cache(model, _CONFIG, revision=revision)
        if not isinstance(found, str):
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
        digest = blob.name if len(blob.name) == 64 else None  # noqa: PLR2004
        return LockedFile(name=name, size=blob.stat().st_size, sha256=digest)

    def read(self, name: str) -> dict[str, Any] | None:
        found = self._look(self._model, name, revision=self.commit)
        return _parsed(found) if isinstance(found, str) else None


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


def _api() -> HfApi:
    from huggingface_hub import HfApi  # noqa: PLC0415 - an extra brings it
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415

    disable_progress_bars()  # these are small files
    token = os.environ.get("HF_TOKEN") or False
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token, library_name="modalkit")


def _offline() -> bool:
    try:
        from huggingface_hub import constants  # noqa: PLC0415 - an extra brings it
    except ImportError as error:
        feature = "Asking the model hub"
        raise MissingExtraError(feature, "hub") from error
    return constants.is_offline_mode()


@contextmanager
def _explained(model: str, revision: str | None) -> Iterator[None]:
    """Turn what the hub's client raises into what a person can do."""
    _offline()
    from httpx2 import HTTPError  # noqa: PLC0415 - comes with huggingface_hub
    from huggingface_hub import errors  # noqa: PLC0415

    try:
        yield
    except HubError:
        raise
    except errors.GatedRepoError as error:
        raise HubError(gated(model)) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(no_revision(model, revision)) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(not_found(model)) from error
    except errors.HFValidationError as error:
        msg = f"{model!r} is not a hub id. Write one such as 'Qwen/Qwen3-8B'."
        raise HubError(msg) from error
    except errors.HfHubHTTPError as error:
        raise HubError(_refused(model, error)) from error
    except (HTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise HubError(down(error)) from error
    except (errors.SafetensorsParsingError, errors.NotASafetensorsRepoError) as error:
        msg = f"The header of {model!r}'s weights cannot be read: {error}"
        raise HubError(msg) from error


def _refused(model: str, error: OSError) -> str:
    response = getattr(error, "response", None)
    headers = response.headers if response is not None else {}
    return refused(model, getattr(response, "status_code", 0), headers.get("Retry-After", ""))
