"""Where weights and compiled kernels stay between containers: a named Volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Strict, model_validator

from .._names import check_container_path, check_environment_name, check_object_name
from .._values import Value
from ..errors import DeclarationError
from .weights_sources import Bucket, WeightSource, weight_source

if TYPE_CHECKING:
    import modal

__all__ = ["WeightCache"]

# Roots whose contents belong to the image, the kernel or Modal. Modal refuses to mount over a
# path that is not empty, and mounting over these would break the container if it did not.
_SYSTEM = frozenset(
    {"__modal", "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32"}
    | {"proc", "run", "sbin", "sys", "usr", "var"}
)
# Modal 1.6.4 refuses the first three by name (modal/_utils/mount_utils.py).
_TAKEN = frozenset({"/", "/root", "/tmp", "/home", "/opt"})  # noqa: S108 - a name, not a temporary file
# SGLang's image ships files in /root/.cache/huggingface, so a mount there or above is refused.
_USER_CACHE = "/root/.cache"

# Where compile caches go when the Volume cannot be written; gone with the container.
_SCRATCH = "/tmp/modalkit-cache"  # noqa: S108 - inside a container of our own

# Variable: folder. Who reads it, and where that was read, 2026-11:
_COMPILE_CACHES = {
    # PyTorch 2.13: torch/_inductor/runtime/cache_dir_utils.py
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    # Triton, and PyTorch's use of it: the same file
    "TRITON_CACHE_DIR": "triton",
    # vLLM: vllm/envs.py, torch.compile graphs and its own kernels
    "VLLM_CACHE_ROOT": "vllm",
    # SGLang: Modal's inkling_small.py sample, and sglang/srt/environ.py
    "SGLANG_CACHE_DIR": "sglang",
    # SGLang's DeepGEMM kernels: Modal's deepseek_v4_flash.py sample, and sglang/srt/environ.py
    "SGLANG_DG_CACHE_DIR": "deep_gemm",
    # FlashInfer appends .cache/flashinfer to it: flashinfer/jit/env.py
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
    # TileLang: Modal's deepseek_v4_flash.py sample
    "TILELANG_CACHE_DIR": "tilelang",
}


class WeightCache(Value):
    """A named Modal Volume for weights and compiled kernels.

    Args:
        name: The Volume's name in Modal.
        mount: Where it appears in the container. Default ``"/cache"``.
        read_only: Mount it read-only, for weights that something else put there. The hub then
            works offline and compile caches go to a folder that ends with the container.
            Default false.
        version: Format of the Volume, 1 or 2; it must be that of a Volume that exists. Default 2.
        sub_path: Mount only this folder of the Volume. Default: all of it.
        environment_name: Modal environment to look in. Default: the active one.
        create: Create the Volume if there is none. Default true.
        fill: When the weights of a hub model arrive. ``"prefetch"``: before, on a CPU container, by
            ``modalkit prefetch FILE``; what serves mounts them read-only and never downloads.
            ``"start"``: the engine downloads what is missing when it starts. Default ``"prefetch"``.
        source: Where `prefetch` takes them from instead of the hub: ``"s3://bucket/prefix"`` or a
            `Bucket`, ``"volume://name/path"``, ``"./folder"`` beside the service's file.
        include: Patterns of files to fetch besides those an engine reads, ``["*Q4_K_M.gguf"]``.
        exclude: Patterns of files to leave out.

    Raises:
        DeclarationError: A name Modal does not accept, or a mount point that is taken.

    Examples:
        >>> cache = WeightCache("qwen3")
        >>> cache.env["HF_HUB_CACHE"]
        '/cache/huggingface/hub'
        >>> cache.path("checkpoints", "last.pt")
        '/cache/checkpoints/last.pt'
        >>> WeightCache("qwen3", mount="/root/.cache/huggingface")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: WeightCache('qwen3').mount '/root/.cache/huggingface' lies in /root/.cache, where engine images ship files; Modal refuses to mount over them. Write mount='/cache': env points the hub there.
    """

    name: str
    mount: str = "/cache"
    read_only: Annotated[bool, Strict()] = False
    version: Literal[1, 2] = 2
    sub_path: str | None = None
    environment_name: str | None = None
    create: Annotated[bool, Strict()] = True
    fill: Literal["prefetch", "start"] = "prefetch"
    source: WeightSource | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        *,
        mount: str = "/cache",
        read_only: bool = False,
        version: Literal[1, 2] = 2,
        sub_path: str | None = None,
        environment_name: str | None = None,
        create: bool = True,
        fill: Literal["prefetch", "start"] = "prefetch",
        source: str | Bucket | WeightSource | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__(
            name=name,
            mount=mount,
            read_only=read_only,
            version=version,
            sub_path=sub_path,
            environment_name=environment_name,
            create=create,
            fill=fill,
            source=weight_source(f"WeightCache({name!r})", source),
            include=_patterns(name, "include", include),
            exclude=_patterns(name, "exclude", exclude),
        )
        if source is not None and (fill == "start" or read_only):
            other = "fill='start'" if fill == "start" else "read_only=True"
            msg = (
                f"WeightCache({name!r}).source is of no use with {other}: only prefetching reads it. "
                "Leave one of them out."
            )
            raise DeclarationError(msg)

    @model_validator(mode="after")
    def _can_be_mounted(self) -> Self:
        check_object_name("WeightCache.name", self.name)
        where = f"WeightCache({self.name!r})"
        check_environment_name(f"{where}.environment_name", self.environment_name)
        check_container_path(f"{where}.mount", self.mount)
        _check_mount(where, self.mount)
        if self.sub_path is not None:
            _check_sub_path(where, self.sub_path)
        return self

    @property
    def env(self) -> dict[str, str]:
        """Variables that point the model hub and every engine's compile caches at the Volume."""
        scratch = _SCRATCH if self.read_only else self.mount
        # HF_HOME also holds small files that are written while reading (huggingface_hub 2).
        hub = {
            "HF_HOME": f"{scratch}/huggingface",
            "HF_HUB_CACHE": self.path("huggingface", "hub"),
            "HF_XET_HIGH_PERFORMANCE": "1",
        }
        if self.read_only:
            # A download could not be stored; without this the hub is asked, then writing fails.
            hub["HF_HUB_OFFLINE"] = "1"
        return hub | self.compile_env()

    def compile_env(self, folder: str | None = None) -> dict[str, str]:
        """Return the variables that point every engine's compile caches at a folder.

        Args:
            folder: Where in the container. Default: the mount point, or a folder that ends with the
                container when the Volume is read-only.
        """
        root = folder or (_SCRATCH if self.read_only else self.mount)
        return {name: f"{root}/{part}" for name, part in _COMPILE_CACHES.items()}

    def path(self, *parts: str) -> str:
        """Return a path in the container below the mount point.

        Raises:
            DeclarationError: A part that leads out of the Volume.
        """
        below = PurePosixPath(*parts)
        if below.is_absolute() or ".." in below.parts:
            msg = (
                f"WeightCache({self.name!r}).path({', '.join(map(repr, parts))}) leads out of the Volume. "
                "Write parts below its mount point, such as path('checkpoints')."
            )
            raise DeclarationError(msg)
        return str(PurePosixPath(self.mount) / below)

    def to_modal(self) -> dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount]:
        """Compile to Modal's ``volumes=`` argument: mount point to ``modal.Volume``."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        volume = modal.Volume.from_name(
            self.name,
            environment_name=self.environment_name,
            create_if_missing=self.create,
            version=self.version,
        )
        if self.read_only or self.sub_path is not None:
            volume = volume.with_mount_options(read_only=self.read_only, sub_path=self.sub_path)
        return {self.mount: volume}


def _patterns(name: str, field: str, patterns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(patterns, str):
        msg = f"WeightCache({name!r}).{field} is one string. Write a list of patterns: {field}=[{patterns!r}]."
        raise DeclarationError(msg)
    return tuple(patterns)


def _check_mount(where: str, mount: str) -> None:
    first = PurePosixPath(mount).parts[1] if mount != "/" else ""
    if mount in _TAKEN or first in _SYSTEM:
        taken = mount if mount in _TAKEN else f"/{first}"
        msg = f"{where}.mount {mount!r} is refused: {taken} belongs to the system. Write mount='/cache'."
        raise DeclarationError(msg)
    if PurePosixPath(mount).is_relative_to(_USER_CACHE):
        msg = (
            f"{where}.mount {mount!r} lies in {_USER_CACHE}, where engine images ship files; Modal "
            "refuses to mount over them. Write mount='/cache': env points the hub there."
        )
        raise DeclarationError(msg)


def _check_sub_path(where: str, sub_path: str) -> None:
    parts = [part for part in sub_path.split("/") if part not in {"", ".", ".."}]
    nearest = ("/" if sub_path.startswith("/") else "") + "/".join(parts)
    if not parts or sub_path != nearest:
        hint = f"Write sub_path={nearest!r}." if parts else "Leave sub_path out for all of it."
        msg = f"{where}.sub_path {sub_path!r} does not name a folder of the Volume. {hint}"
        raise DeclarationError(msg)
