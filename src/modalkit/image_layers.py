"""One step of an image's build each, as values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from ._names import check_container_path, is_variable_name
from ._values import Value
from .errors import DeclarationError
from .gpu import GPUProfile
from .image_pins import (
    check_conflicts,
    check_index_url,
    check_requirement,
    is_pinned,
    unpinned_in_file,
)
from .secrets import Secret, holds_credential, secrets_to_modal

if TYPE_CHECKING:
    import modal

__all__ = [
    "AnyLayer",
    "Apt",
    "Env",
    "Layer",
    "LocalDir",
    "LocalFile",
    "LocalFiles",
    "LocalPath",
    "LocalPython",
    "PackageInstall",
    "PipInstall",
    "PyprojectFile",
    "RequirementsFile",
    "Run",
    "UvInstall",
    "UvLock",
    "Workdir",
]

# Endings of variable names whose values do not belong in an image.
_SECRET_ENDINGS = ("_TOKEN", "_KEY", "_KEYS", "_SECRET", "PASSWORD", "PASSWD", "_CREDENTIALS")


class LocalPath(NamedTuple):
    """Something on this machine that a build needs."""

    path: str
    is_folder: bool = False


class Layer(Value, ABC):
    """Base of every step."""

    @abstractmethod
    def add_to(self, image: modal.Image) -> modal.Image:
        """Return the image with this step added."""

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The requirements of this step that may mean something else tomorrow."""
        return ()

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """What this step reads from this machine."""
        return ()


class PackageInstall(Layer, ABC):
    """Python packages by requirement."""

    requirements: tuple[str, ...]
    index_url: str | None = None
    extra_index_url: str | None = None
    pre: bool = False

    @model_validator(mode="after")
    def _is_installable(self) -> Self:
        where = f"ImageSpec.{getattr(self, 'kind', 'pip')}"
        _refuse_empty(where, self.requirements, "'torch==2.13.0'")
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


class PipInstall(PackageInstall):
    """``pip install``."""

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

    kind: Literal["requirements"] = "requirements"
    path: str

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        _refuse_empty("ImageSpec.requirements", self.path, "'requirements.txt'")
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

    kind: Literal["pyproject"] = "pyproject"
    path: str
    extras: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        _refuse_empty("ImageSpec.pyproject", self.path, "'pyproject.toml'")
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

    kind: Literal["uv_lock"] = "uv_lock"
    project_dir: str
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    frozen: bool = True

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        _refuse_empty("ImageSpec.uv_lock", self.project_dir, "'.'")
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


class Apt(Layer):
    """Debian packages."""

    kind: Literal["apt"] = "apt"
    packages: tuple[str, ...]

    @model_validator(mode="after")
    def _is_installable(self) -> Self:
        _refuse_empty("ImageSpec.apt", self.packages, "'ffmpeg'")
        for package in self.packages:
            if package.startswith("-") or len(package.split()) != 1:
                msg = f"ImageSpec.apt {package!r} is not one package. Write each as its own argument: apt('git', 'ffmpeg')."
                raise DeclarationError(msg)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.apt_install``."""
        return image.apt_install(*self.packages)


class Env(Layer):
    """Environment variables of the rest of the build and of the container."""

    kind: Literal["env"] = "env"
    variables: tuple[tuple[str, str], ...]

    @model_validator(mode="after")
    def _keeps_no_secret(self) -> Self:
        _refuse_empty("ImageSpec.env", self.variables, "HF_HOME='/cache'")
        for name, value in self.variables:
            _check_variable(name, value)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.env``."""
        return image.env(dict(self.variables))


class Run(Layer):
    """Shell commands."""

    kind: Literal["run"] = "run"
    commands: tuple[str, ...]
    secrets: tuple[Secret, ...] = ()
    gpu: str | None = None

    @model_validator(mode="after")
    def _is_runnable(self) -> Self:
        _refuse_empty("ImageSpec.run", self.commands, "'git clone ...'")
        for index, command in enumerate(self.commands):
            if not command.strip():
                _refuse_empty(f"ImageSpec.run[{index}]", "", "'git clone ...'")
            if holds_credential(command):
                msg = (
                    f"ImageSpec.run[{index}] holds what looks like a secret's value (command not "
                    "shown), which would stay readable in the image. Write "
                    'run("... $NAME", secrets=[Secret("...")]).'
                )
                raise DeclarationError(msg)
        if self.gpu is not None:
            GPUProfile(self.gpu)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.run_commands``."""
        return image.run_commands(
            *self.commands, secrets=secrets_to_modal(self.secrets), gpu=self.gpu
        )


class Workdir(Layer):
    """The working directory of the rest of the build and of the container."""

    kind: Literal["workdir"] = "workdir"
    path: str

    @model_validator(mode="after")
    def _is_absolute(self) -> Self:
        check_container_path("ImageSpec.workdir", self.path)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.workdir``."""
        return image.workdir(self.path)


class LocalFiles(Layer, ABC):
    """Files of this machine: mounted when a container starts, or built into the image."""

    built_in: bool = False


class LocalDir(LocalFiles):
    """A folder of this machine."""

    kind: Literal["local_dir"] = "local_dir"
    source: str
    target: str
    ignore: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _lands_somewhere(self) -> Self:
        _refuse_empty("ImageSpec.local_dir", self.source, "'assets'")
        check_container_path(f"ImageSpec.local_dir({self.source!r}) target", self.target)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.add_local_dir``."""
        return image.add_local_dir(
            self.source, self.target, copy=self.built_in, ignore=list(self.ignore)
        )

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """The folder."""
        return (LocalPath(self.source, is_folder=True),)


class LocalFile(LocalFiles):
    """A file of this machine."""

    kind: Literal["local_file"] = "local_file"
    source: str
    target: str

    @model_validator(mode="after")
    def _lands_somewhere(self) -> Self:
        _refuse_empty("ImageSpec.local_file", self.source, "'config.json'")
        check_container_path(f"ImageSpec.local_file({self.source!r}) target", self.target)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.add_local_file``."""
        return image.add_local_file(self.source, self.target, copy=self.built_in)

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """The file."""
        return (LocalPath(self.source),)


class LocalPython(LocalFiles):
    """Python packages or modules of this machine, by import name."""

    kind: Literal["local_python"] = "local_python"
    modules: tuple[str, ...]

    @model_validator(mode="after")
    def _is_importable(self) -> Self:
        _refuse_empty("ImageSpec.local_python", self.modules, "'mypackage'")
        for module in self.modules:
            if not all(part.isidentifier() for part in module.split(".")):
                nearest = module.removesuffix(".py").strip("./").replace("/", ".")
                msg = f"ImageSpec.local_python {module!r} is not the name of a module. Write {nearest!r}."
                raise DeclarationError(msg)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.add_local_python_source``."""
        return image.add_local_python_source(*self.modules, copy=self.built_in)


AnyLayer = Annotated[
    PipInstall
    | UvInstall
    | RequirementsFile
    | PyprojectFile
    | UvLock
    | Apt
    | Env
    | Run
    | Workdir
    | LocalDir
    | LocalFile
    | LocalPython,
    Field(discriminator="kind"),
]


def _refuse_empty(where: str, given: object, example: str) -> None:
    if not given or (isinstance(given, str) and not given.strip()):
        msg = f"{where} has nothing in it. Write at least one, such as {example}."
        raise DeclarationError(msg)


def _check_variable(name: str, value: str) -> None:
    where = f"ImageSpec.env[{name!r}]"
    if not is_variable_name(name):
        msg = f"{where} is not the name of an environment variable. Use letters, digits and '_'."
        raise DeclarationError(msg)
    if value and (name.upper().endswith(_SECRET_ENDINGS) or holds_credential(value)):
        msg = (
            f"{where} looks like a secret, and its value (not shown) would be readable in the image. "
            f"Use Secret('NAME', keys=[{name!r}]) instead."
        )
        raise DeclarationError(msg)
    if "\n" in value:
        msg = f"{where} has a line break, which an image's environment cannot hold. Write it to a file with .run(...)."
        raise DeclarationError(msg)
