"""An image as it was locked: its base by digest, its packages by version."""

from __future__ import annotations

from collections.abc import Iterator

from ..declare.image import ImageSpec
from ..declare.image.bases import DebianSlim, Registry
from ..declare.image.installs import PackageInstall, UvInstall
from .lockfile import LockedImage, LockedService

__all__ = ["pinned_image"]


def pinned_image(image: ImageSpec, locked: LockedService | None) -> ImageSpec:
    """Return an image with what its tag and its requirements meant when it was locked.

    The locked versions of the whole tree are installed before the image's own steps, which then find
    them there. An image that brings packages of its own, as SGLang's does, keeps them: only its digest
    is taken. So does one whose requirements changed since.
    """
    if locked is None:
        return image
    base = image.base
    layers = list(image.layers)
    if _is_bare(image) and locked.image.resolved_by in {"uv", "pip"} and _is_current(image, locked):
        first = next(at for at, layer in enumerate(layers) if isinstance(layer, PackageInstall))
        layers.insert(first, _install(image, locked.image))
    if isinstance(base, Registry) and base.tag == locked.image.base and locked.image.digest:
        base = base.model_copy(update={"tag": f"{base.tag}@{locked.image.digest}"})
    return ImageSpec(base=base, layers=layers)


def _is_bare(image: ImageSpec) -> bool:
    """Whether its Python has no packages before the first step."""
    base = image.base
    return isinstance(base, DebianSlim) or (
        isinstance(base, Registry) and base.add_python is not None
    )


def _is_current(image: ImageSpec, locked: LockedService) -> bool:
    declared = locked.declared.get("packages", "")
    wanted = [text for one in _installs(image) for text in one.requirements]
    return bool(wanted) and all(text in declared for text in wanted)


def _installs(image: ImageSpec) -> Iterator[PackageInstall]:
    return (layer for layer in image.layers if isinstance(layer, PackageInstall))


def _install(image: ImageSpec, locked: LockedImage) -> UvInstall:
    installs = list(_installs(image))
    return UvInstall(
        requirements=tuple(_requirement(line, locked.python) for line in locked.packages),
        index_url=next((one.index_url for one in installs if one.index_url), None),
        extra_index_url=next(
            (one.extra_index_url for one in installs if one.extra_index_url), None
        ),
        pre=any(one.pre for one in installs),
    )


def _requirement(line: str, python: str) -> str:
    """A locked version, for the Python it was resolved for: a local Modal may have another."""
    pin = line.partition(" --hash=")[0]
    return pin if ";" in pin else f"{pin} ; python_version == '{python}'"
