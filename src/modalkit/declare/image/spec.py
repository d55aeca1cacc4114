"""The image of a container, declared step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ..._values import Value
from ...errors import DeclarationError
from ..gpu import GPUProfile
from ..pins import check_conflicts, check_no_includes
from ..secrets import Secret
from .bases import DebianSlim, Dockerfile, EngineBase, ImageBase, Registry
from .installs import (
    PackageInstall,
    PipInstall,
    PyprojectFile,
    RequirementsFile,
    UvInstall,
    UvLock,
)
from .layers import Apt, Env, LocalDir, LocalFile, LocalPath, LocalPython, Run, Workdir
from .order import ImageLayer, in_build_order
from .runtime_packages import RUNTIME_REQUIREMENTS
from .tested import TestedSet, check_files_against_sets, check_sets

if TYPE_CHECKING:
    import modal

__all__ = ["ImageSpec"]


class ImageSpec(Value):
    """The image of a container: a base and the steps on top of it.

    Every method returns a new value, so a spec can be shared and extended. Local files go last
    whatever the order written, where the result is provably the same; the law is
    :func:`modalkit.image_order.may_move_after`. Relative local paths start at the current
    directory, as Modal's do, and are looked at by ``to_modal``, not before.

    Args:
        python: Python of the Debian slim base, ``"3.11"`` to ``"3.15"``, with or without a patch
            version. Default ``"3.12"``.
        base: Another base, as :meth:`registry`, :meth:`dockerfile` and :meth:`engine` make it.
        layers: Steps, as the methods make them.

    Raises:
        DeclarationError: A Python that Modal does not have, a requirement that pip cannot read, two
            that contradict each other, a relative path in the container, or a secret's value.

    Examples:
        >>> image = ImageSpec(python="3.12").pip("torch==2.13.0").apt("git")
        >>> image.pinned
        True
        >>> image.pip("numpy>=2").unpinned
        ('numpy>=2',)
        >>> ImageSpec().pip("torch=2.13.0")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: ImageSpec.pip 'torch=2.13.0' is not a requirement. Write 'torch==2.13.0'.
    """

    base: ImageBase
    layers: tuple[ImageLayer, ...] = ()

    def __init__(
        self,
        python: str | None = None,
        *,
        base: ImageBase | None = None,
        layers: Sequence[ImageLayer] = (),
    ) -> None:
        if python is not None and base is not None:
            msg = f"ImageSpec(python={python!r}, base=...) says two bases. Leave one of them out."
            raise DeclarationError(msg)
        chosen = DebianSlim(python="3.12" if python is None else python) if base is None else base
        super().__init__(base=chosen, layers=tuple(layers))

    @classmethod
    def registry(
        cls,
        tag: str,
        *,
        add_python: str | None = None,
        secret: Secret | None = None,
        clear_entrypoint: bool = True,
    ) -> ImageSpec:
        """Start from an image of a registry.

        Args:
            tag: Such as ``"nvidia/cuda:13.0.1-devel-ubuntu24.04"``; pinned only with a digest
                (``"...@sha256:..."``).
            add_python: Python series to add to an image that has none. Default: none.
            secret: Credentials of a private registry. Default: none.
            clear_entrypoint: Drop the image's entrypoint, which would otherwise have to end by
                running what it is given. Default true.
        """
        base = Registry(
            tag=tag, add_python=add_python, secret=secret, clear_entrypoint=clear_entrypoint
        )
        return cls(base=base)

    @classmethod
    def dockerfile(
        cls,
        path: str,
        *,
        context_dir: str | None = None,
        add_python: str | None = None,
        build_args: Mapping[str, str] | None = None,
    ) -> ImageSpec:
        """Start from a Dockerfile of this machine.

        Args:
            path: The Dockerfile.
            context_dir: Folder its ``COPY`` commands read. Default: the current directory.
            add_python: Python series to add to an image that has none. Default: none.
            build_args: Values of its ``ARG`` lines; never secrets. Default: none.
        """
        args = _pairs("ImageSpec.dockerfile.build_args", build_args or {})
        base = Dockerfile(
            path=path, context_dir=context_dir, add_python=add_python, build_args=args
        )
        return cls(base=base)

    @classmethod
    def engine(cls) -> ImageSpec:
        """Start from the image of the service's engine, whichever it is; see :meth:`on`."""
        return cls(base=EngineBase())

    @property
    def extends_engine(self) -> bool:
        """Whether this spec began with :meth:`engine` and still waits for its base."""
        return isinstance(self.base, EngineBase)

    def on(self, base: ImageSpec) -> ImageSpec:
        """Put these steps on another spec, in place of :meth:`engine`.

        A requirement may override one of the other spec, but not of an engine's tested set.

        Raises:
            DeclarationError: This spec has a base of its own, or contradicts a tested set.
        """
        if not self.extends_engine:
            msg = f"ImageSpec.on() replaces ImageSpec.engine(), but this spec starts from {self.base.kind!r}. Begin it with ImageSpec.engine()."
            raise DeclarationError(msg)
        for layer in self.layers:
            check_sets(base.layers, layer)
        return ImageSpec(base=base.base, layers=(*base.layers, *self.layers))

    def holding(self, tested: TestedSet) -> ImageSpec:
        """Hold the steps that follow to a set of versions, as every engine's image does."""
        return self._with(tested)

    def pip(
        self,
        *requirements: str,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
    ) -> ImageSpec:
        """Install Python packages with pip.

        Args:
            requirements: Such as ``"torch==2.13.0"``.
            index_url: Package index to use instead of the default one.
            extra_index_url: Package index to use as well.
            pre: Accept pre-releases. Default false.
        """
        return self._with(
            PipInstall(
                requirements=requirements,
                index_url=index_url,
                extra_index_url=extra_index_url,
                pre=pre,
            )
        )

    def uv(
        self,
        *requirements: str,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
    ) -> ImageSpec:
        """Install Python packages with uv; the arguments are those of :meth:`pip`."""
        return self._with(
            UvInstall(
                requirements=requirements,
                index_url=index_url,
                extra_index_url=extra_index_url,
                pre=pre,
            )
        )

    def apt(self, *packages: str) -> ImageSpec:
        """Install Debian packages; Debian keeps one version of each, so pins do not count them."""
        return self._with(Apt(packages=packages))

    def env(self, variables: Mapping[str, str] | None = None, /, **more: str) -> ImageSpec:
        """Set environment variables of the later steps and the container; never secrets."""
        pairs = _pairs("ImageSpec.env", {**(variables or {}), **more})
        return self._with(Env(variables=pairs))

    def run(
        self,
        *commands: str,
        secrets: Sequence[Secret] = (),
        gpu: str | GPUProfile | None = None,
    ) -> ImageSpec:
        """Run shell commands.

        Args:
            commands: One build step each. What they install does not count for ``pinned``.
            secrets: Environment variables of these commands alone.
            gpu: GPU of the build, for commands that compile kernels. Default: none.
        """
        return self._with(
            Run(
                commands=commands,
                secrets=tuple(secrets),
                gpu=None if gpu is None else str(gpu),
            )
        )

    def workdir(self, path: str) -> ImageSpec:
        """Set the working directory of the later steps and the container; an absolute path."""
        return self._with(Workdir(path=path))

    def requirements(self, path: str) -> ImageSpec:
        """Install a ``requirements.txt``; it cannot include another file."""
        return self._with(RequirementsFile(path=path))

    def pyproject(self, path: str, *, extras: Sequence[str] = ()) -> ImageSpec:
        """Install the dependencies of a ``pyproject.toml``, with some of its extras."""
        return self._with(PyprojectFile(path=path, extras=tuple(extras)))

    def uv_lock(
        self,
        project_dir: str = ".",
        *,
        groups: Sequence[str] = (),
        extras: Sequence[str] = (),
        frozen: bool = True,
    ) -> ImageSpec:
        """Install what the ``uv.lock`` of a project names.

        Args:
            project_dir: Folder with ``pyproject.toml`` and ``uv.lock``. Default: the current one.
            groups: Dependency groups to add.
            extras: Extras to add.
            frozen: Never change the lock while building. Default true.
        """
        return self._with(
            UvLock(
                project_dir=project_dir,
                groups=tuple(groups),
                extras=tuple(extras),
                frozen=frozen,
            )
        )

    def local_dir(
        self, source: str, target: str, *, ignore: Sequence[str] = (), copy: bool = False
    ) -> ImageSpec:
        """Add a folder of this machine.

        Args:
            source: Folder on this machine.
            target: Absolute path in the container.
            ignore: Patterns of files to leave out, as in a ``.dockerignore``.
            copy: Build it into the image, so that later steps can read it. Default: mount it when
                a container starts, which needs no rebuild.
        """
        return self._with(
            LocalDir(source=source, target=target, ignore=tuple(ignore), built_in=copy)
        )

    def local_file(self, source: str, target: str, *, copy: bool = False) -> ImageSpec:
        """Add a file of this machine; a target that ends in ``/`` is the folder it goes to."""
        whole = target + PurePath(source).name if target.endswith("/") else target
        return self._with(LocalFile(source=source, target=whole, built_in=copy))

    def local_python(
        self, *modules: str, copy: bool = False, data_files: bool = False
    ) -> ImageSpec:
        """Add Python packages or modules of this machine, by import name.

        Args:
            modules: Import names.
            copy: Build them into the image instead of mounting them at start.
            data_files: Bring the packages' other files too; Modal leaves them out otherwise.
        """
        return self._with(LocalPython(modules=modules, built_in=copy, data_files=data_files))

    def with_modalkit(self) -> ImageSpec:
        """Add modalkit itself, which a file that imports it needs in its container too.

        Its requirements come first, so that pins of your own have the last word; its source comes
        from this machine. A `ModelService` gets this without asking.
        """
        runtime = UvInstall(requirements=RUNTIME_REQUIREMENTS)
        extended = ImageSpec(base=self.base, layers=(runtime, *self.layers))
        return extended.local_python("modalkit", data_files=True)

    @property
    def ordered(self) -> tuple[ImageLayer, ...]:
        """The steps as they are built; ``layers`` is as written."""
        return in_build_order(self.layers)

    @property
    def unpinned(self) -> tuple[str, ...]:
        """Every requirement that may mean something else tomorrow; reads requirements files.

        Pinned are ``NAME==VERSION``, a URL with a commit or a hash, a frozen ``uv.lock`` and a
        registry image with a digest. A ``pyproject.toml`` and a Dockerfile never are. Debian
        packages and what ``run`` installs are not counted; the engine's image is not known yet.

        Raises:
            DeclarationError: A requirements file that is missing or not readable by pip.
        """
        return (
            *self.base.unpinned,
            *(entry for layer in self.layers for entry in layer.unpinned),
        )

    @property
    def pinned(self) -> bool:
        """Whether nothing is ``unpinned``."""
        return not self.unpinned

    def to_modal(self) -> modal.Image:
        """Compile to a ``modal.Image``; on this machine, local files must exist.

        Raises:
            DeclarationError: A missing local file, a requirements file that includes another, a file
                that contradicts an engine's tested set, or an :meth:`engine` that was not replaced.
        """
        import modal  # noqa: PLC0415 - declaring must not load modal

        if modal.is_local():
            self._check_local_files()
        image = self.base.to_modal()
        for layer in self.ordered:
            image = layer.add_to(image)
        return image

    def _check_local_files(self) -> None:
        for part in (self.base, *self.layers):
            for local in part.local_paths:
                _check_exists(local)
            if isinstance(part, RequirementsFile):
                check_no_includes(part.path)
        check_files_against_sets(self.layers)

    def _with(self, layer: ImageLayer) -> ImageSpec:
        check_sets(self.layers, layer)
        if isinstance(layer, PackageInstall):
            installs = [known for known in self.layers if isinstance(known, PackageInstall)]
            earlier = [text for install in installs for text in install.requirements]
            check_conflicts("ImageSpec", earlier, layer.requirements)
        return ImageSpec(base=self.base, layers=(*self.layers, layer))


def _pairs(where: str, variables: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return the variables as a tuple; a value of another type is named but not shown."""
    pairs = []
    for name, value in variables.items():
        if not isinstance(value, str):
            msg = f"{where}[{name!r}] must be a string, got {type(value).__name__}. Write it in quotes."
            raise DeclarationError(msg)
        pairs.append((name, value))
    return tuple(pairs)


def _check_exists(local: LocalPath) -> None:
    path = Path(local.path).expanduser()
    if path.is_dir() if local.is_folder else path.is_file():
        return
    kind = "folder" if local.is_folder else "file"
    problem = f"is not a {kind}" if path.exists() else "does not exist"
    msg = f"ImageSpec needs the {kind} {local.path!r}, which {problem} in {str(Path.cwd())!r}. Write a path from there."
    raise DeclarationError(msg)
