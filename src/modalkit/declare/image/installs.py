"""Steps of an image's build that install Python packages, as values."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from ...errors import DeclarationError
from ..pins import (
    check_conflicts,
    check_index_url,
    check_requirement,
    contradict,
    is_pinned,
    unpinned_in_file,
)
from .layers import Layer, LocalPath, refuse_empty

if TYPE_CHECKING:
    import modal

__all__ = [
    "PackageInstall",
    "PipInstall",
    "PyprojectFile",
    "RequirementsFile",
    "TestedSet",
    "UvInstall",
    "UvLock",
]


class PackageInstall(Layer, ABC):
    """Python packages by requirement."""

    requirements: tuple[str, ...]
    index_url: str | None = None
    extra_index_url: str | None = None
    pre: bool = False

    @model_validator(mode="after")
    def _is_installable(self) -> Self:
        where = self.place
        refuse_empty(where, self.requirements, "'torch==2.13.0'")
        for text in self.requirements:
            check_requirement(where, text)
        check_conflicts(where, (), self.requirements)
        check_index_url(f"{where}.index_url", self.index_url)
        check_index_url(f"{where}.extra_index_url", self.extra_index_url)
        return self

    @property
    def unpinned(self) -> tuple[str, ...]:
        """Every requirement that is not pinned exactly."""
        return tuple(text for text in self.requirements if not is_pinned(text))


class TestedSet(Layer):
    """Versions that belong together; it installs nothing and holds later steps to them.

    Attributes:
        by: Whose they are and when they were tested, for messages.
        requirements: What each package must be.
    """

    kind: Literal["tested"] = "tested"
    by: str
    requirements: tuple[str, ...]

    def add_to(self, image: modal.Image) -> modal.Image:
        """Return the image as it is."""
        return image

    def check(self, where: str, added: Iterable[str]) -> None:
        """Refuse requirements that contradict the set.

        Raises:
            DeclarationError: The first that does, and what it contradicts.
        """
        for text in added:
            held = next((one for one in self.requirements if contradict(one, text)), None)
            if held is not None:
                msg = (
                    f"{where} {text!r} contradicts {held!r} of {self.by}. Leave it out, or start "
                    "from an image of your own, such as ImageSpec.registry(...), to try another set."
                )
                raise DeclarationError(msg)


class PipInstall(PackageInstall):
    """``pip install``."""

    place: ClassVar[str] = "ImageSpec.pip"

    kind: Literal["pip"] = "pip"

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.pip_install``."""
        return image.pip_install(
            *self.requirements,
            index_url=self.index_url,
            extra_index_url=self.extra_index_url,
            pre=self.pre,
        )


class UvInstall(PackageInstall):
    """``uv pip install``."""

    place: ClassVar[str] = "ImageSpec.uv"

    kind: Literal["uv"] = "uv"

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.uv_pip_install``."""
        return image.uv_pip_install(
            *self.requirements,
            index_url=self.index_url,
            extra_index_url=self.extra_index_url,
            pre=self.pre,
        )


class RequirementsFile(Layer):
    """A ``requirements.txt``."""

    place: ClassVar[str] = "ImageSpec.requirements"

    kind: Literal["requirements"] = "requirements"
    path: str

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        refuse_empty("ImageSpec.requirements", self.path, "'requirements.txt'")
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.pip_install_from_requirements``."""
        return image.pip_install_from_requirements(self.path)

    @property
    def unpinned(self) -> tuple[str, ...]:
        """Every line that is not pinned; reads the file."""
        return unpinned_in_file(self.path)

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """The file."""
        return (LocalPath(self.path),)


class PyprojectFile(Layer):
    """The dependencies of a ``pyproject.toml``."""

    place: ClassVar[str] = "ImageSpec.pyproject"

    kind: Literal["pyproject"] = "pyproject"
    path: str
    extras: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        refuse_empty("ImageSpec.pyproject", self.path, "'pyproject.toml'")
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.pip_install_from_pyproject``."""
        return image.pip_install_from_pyproject(self.path, list(self.extras))

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The file: its dependencies are not resolved here."""
        return (self.path,)

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """The file."""
        return (LocalPath(self.path),)


class UvLock(Layer):
    """A uv project's locked dependencies."""

    place: ClassVar[str] = "ImageSpec.uv_lock"

    kind: Literal["uv_lock"] = "uv_lock"
    project_dir: str
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    frozen: bool = True

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        refuse_empty("ImageSpec.uv_lock", self.project_dir, "'.'")
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.uv_sync``."""
        return image.uv_sync(
            self.project_dir,
            groups=list(self.groups),
            extras=list(self.extras),
            frozen=self.frozen,
        )

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The lock file, unless it is frozen."""
        return () if self.frozen else (self._lock,)

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """The project file, and the lock when it decides."""
        project = LocalPath(str(PurePath(self.project_dir) / "pyproject.toml"))
        return (project, LocalPath(self._lock)) if self.frozen else (project,)

    @property
    def _lock(self) -> str:
        return str(PurePath(self.project_dir) / "uv.lock")
