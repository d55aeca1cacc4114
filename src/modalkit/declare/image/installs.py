"""Steps of an image's build that install Python packages, as values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from ..pins import (
    check_conflicts,
    check_index_url,
    check_requirement,
    is_pinned,
    unpinned_in_file,
)
from .installed_files import FileRequirement, in_pyproject, in_requirements, in_uv_lock
from .layers import Layer, LocalPath, refuse_empty

if TYPE_CHECKING:
    import modal

__all__ = [
    "FileInstall",
    "PackageInstall",
    "PipInstall",
    "PyprojectFile",
    "RequirementsFile",
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


class FileInstall(Layer, ABC):
    """Python packages that a file of this machine names."""

    @abstractmethod
    def installed(self) -> Iterator[FileRequirement]:
        """Yield what the file installs in a container; reads it.

        Raises:
            DeclarationError: It cannot be read.
        """


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


class RequirementsFile(FileInstall):
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

    def installed(self) -> Iterator[FileRequirement]:
        """Yield its lines."""
        return in_requirements(self.path)

    @property
    def unpinned(self) -> tuple[str, ...]:
        """Every line that is not pinned; reads the file."""
        return unpinned_in_file(self.path)

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """The file."""
        return (LocalPath(self.path),)


class PyprojectFile(FileInstall):
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

    def installed(self) -> Iterator[FileRequirement]:
        """Yield its dependencies."""
        return in_pyproject(self.path, self.extras)

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The file: its dependencies are not resolved here."""
        return (self.path,)

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """The file."""
        return (LocalPath(self.path),)


class UvLock(FileInstall):
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

    def installed(self) -> Iterator[FileRequirement]:
        """Yield what is locked; a lock that the build may change says nothing yet."""
        return in_uv_lock(self.project_dir, self.groups, self.extras) if self.frozen else iter(())

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
