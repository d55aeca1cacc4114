"""What an image starts from, as values."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..._values import Value, one_of
from ...errors import DeclarationError
from ..secrets import Secret, holds_credential
from .layers import LocalPath

if TYPE_CHECKING:
    import modal

__all__ = [
    "PYTHON_VERSIONS",
    "Base",
    "DebianSlim",
    "Dockerfile",
    "EngineBase",
    "ImageBase",
    "Registry",
]

# What Modal's image builder 2026.10 offers (modal 1.6.4, modal/_image.py); 1.7 ends 3.10.
PYTHON_VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")

_REFERENCE = re.compile(
    r"""(?P<host>((localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)(:[0-9]+)?|[A-Za-z0-9-]+:[0-9]+)/)?
        (?P<path>[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)*)
        (?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?
        (?P<digest>@sha256:[0-9a-f]{64})?""",
    re.VERBOSE,
)


class Base(Value, ABC):
    """Base of what an image can start from."""

    @abstractmethod
    def to_modal(self) -> modal.Image:
        """Compile to a ``modal.Image`` without further steps."""

    @property
    def unpinned(self) -> tuple[str, ...]:
        """What of it may mean something else tomorrow."""
        return ()

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """What it reads from this machine."""
        return ()


class DebianSlim(Base):
    """Debian slim with Python, as Modal builds it."""

    kind: Literal["debian_slim"] = "debian_slim"
    python: str

    @field_validator("python", mode="before")
    @classmethod
    def _is_offered(cls, python: object) -> object:
        return _check_python("ImageSpec.python", python, patch_allowed=True)

    def to_modal(self) -> modal.Image:
        """Compile to ``modal.Image.debian_slim``."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        return modal.Image.debian_slim(python_version=self.python)


class Registry(Base):
    """An image from a registry."""

    place: ClassVar[str] = "ImageSpec.registry"

    kind: Literal["registry"] = "registry"
    tag: str
    add_python: str | None = None
    secret: Secret | None = None
    clear_entrypoint: bool = True

    @field_validator("add_python", mode="before")
    @classmethod
    def _is_offered(cls, python: object) -> object:
        return None if python is None else _check_python(f"{cls.place}.add_python", python)

    @model_validator(mode="after")
    def _is_reference(self) -> Self:
        if not _REFERENCE.fullmatch(self.tag):
            bare = re.sub(r"^\w+://|\s", "", self.tag)
            repository, colon, tag = bare.partition(":")
            nearest = repository.lower() + colon + tag
            hint = (
                nearest if _REFERENCE.fullmatch(nearest) else "nvidia/cuda:13.0.1-devel-ubuntu24.04"
            )
            msg = f"ImageSpec.registry({self.tag!r}) is not an image reference. Write one such as {hint!r}."
            raise DeclarationError(msg)
        return self

    def to_modal(self) -> modal.Image:
        """Compile to ``modal.Image.from_registry``."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        secret = self.secret.to_modal() if self.secret else None
        image = modal.Image.from_registry(self.tag, secret=secret, add_python=self.add_python)
        return image.entrypoint([]) if self.clear_entrypoint else image

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The tag, unless it names a digest: the owner of a tag can move it."""
        return () if "@sha256:" in self.tag else (self.tag,)


class Dockerfile(Base):
    """An image built from a Dockerfile on this machine."""

    place: ClassVar[str] = "ImageSpec.dockerfile"

    kind: Literal["dockerfile"] = "dockerfile"
    path: str
    context_dir: str | None = None
    add_python: str | None = None
    build_args: tuple[tuple[str, str], ...] = ()

    @field_validator("add_python", mode="before")
    @classmethod
    def _is_offered(cls, python: object) -> object:
        return None if python is None else _check_python(f"{cls.place}.add_python", python)

    @model_validator(mode="after")
    def _keeps_no_secret(self) -> Self:
        if not self.path.strip():
            msg = (
                "ImageSpec.dockerfile('') names no file. Write ImageSpec.dockerfile('Dockerfile')."
            )
            raise DeclarationError(msg)
        for name, value in self.build_args:
            if holds_credential(value):
                msg = (
                    f"ImageSpec.dockerfile({self.path!r}).build_args[{name!r}] looks like a secret's "
                    "value (not shown), and build arguments stay readable in the image. Install "
                    "what needs it in .run(..., secrets=[Secret('NAME')])."
                )
                raise DeclarationError(msg)
        return self

    def to_modal(self) -> modal.Image:
        """Compile to ``modal.Image.from_dockerfile``."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        return modal.Image.from_dockerfile(
            self.path,
            context_dir=Path(self.context_dir).expanduser() if self.context_dir else None,
            add_python=self.add_python,
            build_args=dict(self.build_args),
        )

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The file: what its commands bring is not known here."""
        return (self.path,)

    @property
    def local_paths(self) -> tuple[LocalPath, ...]:
        """The file and the folder its ``COPY`` commands read."""
        folder = (LocalPath(self.context_dir, is_folder=True),) if self.context_dir else ()
        return (LocalPath(self.path), *folder)


class EngineBase(Base):
    """Stands for the image of whichever engine the service uses, until ``ImageSpec.on``."""

    kind: Literal["engine"] = "engine"

    def to_modal(self) -> modal.Image:
        """Refuse: there is no image yet.

        Raises:
            DeclarationError: Always.
        """
        msg = (
            "ImageSpec.engine() stands for the engine's image, which is not chosen yet. Use it in a "
            "ModelService with an engine, or write ImageSpec.engine()...on(SGLang().image())."
        )
        raise DeclarationError(msg)


ImageBase = Annotated[DebianSlim | Registry | Dockerfile | EngineBase, Field(discriminator="kind")]


def _check_python(where: str, python: object, *, patch_allowed: bool = False) -> str:
    if not isinstance(python, str):
        msg = f"{where} must be a string, got {python!r}. Write {str(python)!r} with quotes: 3.10 is 3.1 without."
        raise DeclarationError(msg)
    match = re.fullmatch(r"(3\.\d{1,2})(\.\d{1,2})?", python)
    if match and match[1] in PYTHON_VERSIONS and (patch_allowed or not match[2]):
        return python
    if match and match[1] in PYTHON_VERSIONS:
        remedy = f"Write {match[1]!r}: Modal chooses the patch version."
    else:
        remedy = f"Write one of {one_of(PYTHON_VERSIONS)}."
    msg = f"{where} {python!r} is not a Python Modal adds to images. {remedy}"
    raise DeclarationError(msg)
