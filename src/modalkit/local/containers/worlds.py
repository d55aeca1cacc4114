"""What a container of a function finds around it: files, volumes, variables, working folder."""

from __future__ import annotations

import json
import os
import site
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import LocalModalError
from ..address import direct_here
from ..images import AddFiles, Images, container_path
from ..images.layers import placed
from ..processes.launch import Bind, ContainerSpec
from ..protocol import api
from ..store.files import FileStore

if TYPE_CHECKING:
    from ..store.mounts import Mounts
    from ..store.secrets import Secrets
    from ..volumes import Volumes
    from ..volumes.image_mounts import ImageMounts
    from ..volumes.network import NetworkFileSystems
    from .container import Container

__all__ = ["World", "Worlds", "host_environment"]

# A container inherits only what the machine itself needs: a program that misses a secret here
# would miss it on Modal too.
_INHERITED = [
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
]


def host_environment() -> dict[str, str]:
    """Return the variables a container inherits from this machine."""
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    if any(name.lower().endswith("_proxy") for name in env):
        env.update(direct_here(env))  # large payloads come from this machine
    if site.ENABLE_USER_SITE:
        env["PYTHONUSERBASE"] = site.getuserbase()
    return env


@dataclass(frozen=True, slots=True)
class World:
    """One function's surroundings.

    Attributes:
        layer: The tree of its mounted files.
        binds: Its volumes.
        variables: From its image and secrets, later ones win.
        python: The interpreter that runs Modal's container entrypoint.
        lowers: What the steps of its image made, as folders laid over the machine's, lowest first.
        keep: The Python environments of its image.
        changes: Where what it writes is kept, if it builds an image.
    """

    layer: Path
    binds: list[Bind]
    variables: dict[str, str]
    workdir: str
    python: str = sys.executable
    lowers: tuple[Path, ...] = ()
    keep: tuple[Path, ...] = ()
    changes: Path | None = None

    def environment(self, prefix: str) -> dict[str, str]:
        """Return its variables.

        Args:
            prefix: Where the layer is, when the container has no root folder of its own.
        """
        search = [f"{prefix}/root", f"{prefix}/pkg"]
        search += [path for path in (self.variables.get("PYTHONPATH"),) if path]
        search += [path for path in (os.environ.get("PYTHONPATH"),) if path]
        home = {} if prefix else {"HOME": "/root"}
        env = {**home, **self.variables, "PYTHONPATH": ":".join(search)}
        if prefix and "HOME" not in env and "HOME" in os.environ:
            env["HOME"] = os.environ["HOME"]
        return env


@dataclass(frozen=True, slots=True)
class Worlds:
    """Puts worlds together from what the client declared.

    Attributes:
        layered: Whether containers see image layers; otherwise the files are in the world's own.
        building: Returns where the changes of a build function's container are kept.
    """

    files: FileStore
    images: Images
    mounts: Mounts
    secrets: Secrets
    volumes: Volumes
    network: NetworkFileSystems
    image_mounts: ImageMounts
    layered: bool
    building: Callable[[str], Path | None]

    async def open(self, container: Container) -> World:
        """Put the surroundings of a container together, before it starts."""
        definition = container.function.definition
        self.images.hold(container.id, definition.image_id)
        built = await self.images.built(definition.image_id)
        recipe = self.images.recipe(definition.image_id)
        path = os.environ.get("PATH", os.defpath)
        variables = {name: value.replace("$PATH", path) for name, value in recipe.env.items()}
        variables["PATH"] = container_path(built, variables.get("PATH", path))
        if built.environments:
            variables["VIRTUAL_ENV"] = built.environments[0]
        for secret_id in definition.secret_ids:
            variables.update(self.secrets.values(secret_id))
        return World(
            layer=await self.files.layer(self._placed(definition)),
            binds=[
                *await self._volumes(container),
                *self._buckets(definition),
                *map(self.network.bind, definition.shared_volume_mounts),
            ],
            variables=variables,
            workdir=recipe.workdir,
            python=built.interpreter,
            lowers=tuple(map(Path, built.layers)),
            keep=built.visible,
            changes=self.building(container.function.id),
        )

    async def snapshot(self, container: Container) -> str:
        """Keep a running container's files as an image, and return the image's id."""
        self._refuse_plain()
        image_id = container.function.definition.image_id
        return await self.images.snapshot(image_id, _spec(container))

    async def snapshot_folder(self, container: Container, path: str) -> str:
        """Keep a folder of a running container as an image, and return the image's id."""
        self._refuse_plain()
        root = Path(f"/proc/{container.namespace_pid}/root")
        spec = _spec(container)
        mounted = {bind["target"] for bind in spec["binds"]} | self.image_mounts.paths(container)
        return await self.images.snapshot_folder(spec, root, path, mounted)

    async def mount_image(self, container: Container, path: str, image_id: str) -> None:
        """Show an image's own files at a path of a running container; no id stands for none."""
        self._refuse_plain()
        for folder in (sys.prefix, sys.base_prefix):
            if Path(folder).is_relative_to(path):
                msg = f"An image at {path!r} would hide {folder!r}, from which Python runs here."
                raise LocalModalError(msg)
        holder = _holder(container, path)
        arriving = f"{holder} {image_id}"  # what the path shows now is kept until it is covered
        self.images.hold(arriving, image_id)
        try:
            built = await self.images.built(image_id)
            await self.image_mounts.put(container, path, built.layers)
            self.images.hold(holder, image_id)
        finally:
            await self.images.let_go(arriving)
            if path not in self.image_mounts.paths(container):
                await self.images.let_go(holder)

    async def unmount_image(self, container: Container, path: str) -> None:
        """Show what was at a path before an image was mounted there."""
        await self.image_mounts.take_away(container, path)
        await self.images.let_go(_holder(container, path))

    def _refuse_plain(self) -> None:
        if not self.layered:
            msg = (
                "A container's files can be kept as an image, and images be mounted in it, only where "
                "containers have namespaces. Put what you need of them into a volume."
            )
            raise LocalModalError(msg)

    async def close(self, container: Container) -> None:
        """Let go of a container's surroundings, when its process has ended."""
        for path in self.image_mounts.release(container):
            await self.images.let_go(_holder(container, path))
        await self.volumes.release(container)
        await self.images.let_go(container.id)

    def _placed(self, definition: api.Function) -> Iterator[tuple[str, api.MountFile]]:
        """Yield the files of the mounts, with their paths; without layers, the image's too."""
        for image_id in [] if self.layered else self.images.chain(definition.image_id):
            for step in self.images.recipe(image_id).steps:
                if isinstance(step, AddFiles):
                    files = self.mounts.files(step.mount_id)
                    yield from placed(files, step.source, step.destination)
        for mount_id in definition.mount_ids:
            for entry in self.mounts.files(mount_id):
                yield entry.filename, entry

    async def _volumes(self, container: Container) -> list[Bind]:
        wanted = container.function.definition.volume_mounts
        return [await self.volumes.mount(container, mount) for mount in wanted]

    def _buckets(self, definition: api.Function) -> Iterator[Bind]:
        for bucket in definition.cloud_bucket_mounts:
            source = self.volumes.bucket(bucket.bucket_name, bucket.key_prefix)
            yield Bind(source=str(source), target=bucket.mount_path, read_only=bucket.read_only)


def _spec(container: Container) -> ContainerSpec:
    """Return what a container was started with."""
    spec: ContainerSpec = json.loads((container.folder / "spec.json").read_text("utf-8"))
    return spec


def _holder(container: Container, path: str) -> str:
    """Name the use of an image that is mounted at a path."""
    return f"{container.id} {path}"
