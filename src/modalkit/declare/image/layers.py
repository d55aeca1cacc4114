"""Steps of an image's build, as values: Debian packages, variables, commands and local files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from pydantic import model_validator

from ..._names import check_container_path, is_variable_name
from ..._values import Value
from ...errors import DeclarationError
from ..gpu import GPUProfile
from ..secrets import Secret, holds_credential, secrets_to_modal

if TYPE_CHECKING:
    import modal

__all__ = [
    "Apt",
    "Env",
    "Layer",
    "LocalDir",
    "LocalFile",
    "LocalFiles",
    "LocalPath",
    "LocalPython",
    "Run",
    "Workdir",
    "refuse_empty",
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


class Apt(Layer):
    """Debian packages."""

    place: ClassVar[str] = "ImageSpec.apt"

    kind: Literal["apt"] = "apt"
    packages: tuple[str, ...]

    @model_validator(mode="after")
    def _is_installable(self) -> Self:
        refuse_empty("ImageSpec.apt", self.packages, "'ffmpeg'")
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

    place: ClassVar[str] = "ImageSpec.env"

    kind: Literal["env"] = "env"
    variables: tuple[tuple[str, str], ...]

    @model_validator(mode="after")
    def _keeps_no_secret(self) -> Self:
        refuse_empty("ImageSpec.env", self.variables, "HF_HOME='/cache'")
        for name, value in self.variables:
            _check_variable(name, value)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.env``."""
        return image.env(dict(self.variables))


class Run(Layer):
    """Shell commands."""

    place: ClassVar[str] = "ImageSpec.run"

    kind: Literal["run"] = "run"
    commands: tuple[str, ...]
    secrets: tuple[Secret, ...] = ()
    gpu: str | None = None

    @model_validator(mode="after")
    def _is_runnable(self) -> Self:
        refuse_empty("ImageSpec.run", self.commands, "'git clone ...'")
        for index, command in enumerate(self.commands):
            if not command.strip():
                refuse_empty(f"ImageSpec.run[{index}]", "", "'git clone ...'")
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

    place: ClassVar[str] = "ImageSpec.workdir"

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

    place: ClassVar[str] = "ImageSpec.local_dir"

    kind: Literal["local_dir"] = "local_dir"
    source: str
    target: str
    ignore: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _lands_somewhere(self) -> Self:
        refuse_empty("ImageSpec.local_dir", self.source, "'assets'")
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

    place: ClassVar[str] = "ImageSpec.local_file"

    kind: Literal["local_file"] = "local_file"
    source: str
    target: str

    @model_validator(mode="after")
    def _lands_somewhere(self) -> Self:
        refuse_empty("ImageSpec.local_file", self.source, "'config.json'")
        check_container_path(f"ImageSpec.local_file({self.source!r}) target", self.target)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.add_local_file``."""
        # Unlike its other methods, Modal's add_local_file leaves "~" as it is.
        source = Path(self.source).expanduser()
        return image.add_local_file(source, self.target, copy=self.built_in)

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """The file."""
        return (LocalPath(self.source),)


class LocalPython(LocalFiles):
    """Python packages or modules of this machine, by import name."""

    place: ClassVar[str] = "ImageSpec.local_python"

    kind: Literal["local_python"] = "local_python"
    modules: tuple[str, ...]
    data_files: bool = False

    @model_validator(mode="after")
    def _is_importable(self) -> Self:
        refuse_empty("ImageSpec.local_python", self.modules, "'mypackage'")
        for module in self.modules:
            if not all(part.isidentifier() for part in module.split(".")):
                nearest = module.removesuffix(".py").strip("./").replace("/", ".")
                msg = f"ImageSpec.local_python {module!r} is not the name of a module. Write {nearest!r}."
                raise DeclarationError(msg)
        return self

    def add_to(self, image: modal.Image) -> modal.Image:
        """Compile to ``Image.add_local_python_source``."""
        if self.data_files:
            return image.add_local_python_source(
                *self.modules, copy=self.built_in, ignore=["**/__pycache__"]
            )
        return image.add_local_python_source(*self.modules, copy=self.built_in)


def refuse_empty(where: str, given: object, example: str) -> None:
    """Refuse a step that would do nothing.

    Raises:
        DeclarationError: Where, and an example.
    """
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
