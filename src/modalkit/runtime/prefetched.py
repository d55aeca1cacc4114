"""What a container of a service with a prefetched cache does first: look that everything is there.

Nothing is ever downloaded here. The manifest was written last, so a cache without one, or with one for
another commit, is refused with the command that fills it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import WeightsError
from ..plan import ServicePlan
from ..prefetch.layout import manifest_path, snapshot_path
from ..prefetch.manifest import Manifest, blob_sizes, problem_with, read_manifest
from ..prefetch.wanted import Wanted, wanted_models
from ..service import ModelService

__all__ = ["Prefetched", "find_prefetched"]


@dataclass(frozen=True, slots=True)
class Prefetched:
    """A service's model in its cache.

    Attributes:
        folder: Its files, by their names.
        command: What fills the cache, for messages.
        beside: The folders of what its engine reads beside it, by hub id.
    """

    folder: Path
    command: str
    beside: Mapping[str, Path] = field(default_factory=dict)


def find_prefetched(
    service: type[ModelService], plan: ServicePlan, command: str
) -> Prefetched | None:
    """Return where a service's model is, when all that it reads is in its cache.

    Args:
        service: The class.
        plan: Its plan.
        command: What fills the cache, for messages: ``"modalkit prefetch chat.py"``.

    Returns:
        None where the service's cache is not prefetched.

    Raises:
        WeightsError: Something is missing or has another size; with the command.
    """
    wanted = wanted_models(service, plan)
    if not wanted or plan.weights is None:
        return None
    root = Path(plan.weights.mount)
    found = [_manifest(root, one, plan.weights.name, command) for one in wanted]
    folders = {one.model: root / snapshot_path(one.model, one.commit) for one in found}
    main = folders.pop(found[0].model)
    return Prefetched(main, command, folders)


def _manifest(root: Path, wanted: Wanted, volume: str, command: str) -> Manifest:
    manifest = read_manifest(root, wanted)
    if manifest is None:
        problem = f"is not in the Volume {volume!r}, or only in part"
    elif (found := problem_with(manifest, wanted, blob_sizes(root, wanted.model))) is not None:
        problem = f"is not whole in the Volume {volume!r}: {found}"
    else:
        return manifest
    msg = (
        f"{wanted.model!r} at {wanted.asked!r} {problem} ({root / manifest_path(wanted.model, wanted.asked)}). "
        f"Serving never downloads. Run: {command}"
    )
    raise WeightsError(msg)
