"""Every image of a state folder: its definition, its recipe, and the build that containers use.

STATE/images/ID/
lock          held by whoever builds it, of all planes
current       the name of the build that containers get
NAME/         one build: `built.json`, written last, and what it refers to
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import LocalModalError
from ..ids import content_id, new_id
from ..processes.launch import ContainerSpec
from ..protocol import api
from ..store.records import Records
from ..store.state import remove_tree
from .builder import ImageBuilder, Job
from .builds import Build, Builds
from .built import Built, host_image
from .folders import current_build, make_current, remove_halves, size_of
from .locks import file_lock
from .logs import BuildLog, kept_lines
from .packing import pack, pack_folder
from .recipes import lay_over
from .snapshots import Snapshots
from .steps import Install, Recipe

__all__ = ["ImageUse", "Images", "Surroundings"]

_KIND, _NEWEST = "image", "newest image"
_LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class ImageUse:
    """What an image takes on disk."""

    image_id: str
    bytes: int
    built: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What images need of the other parts of a plane.

    Attributes:
        mount_name: Returns the name a mount was published under; empty for one without.
        secret_values: Returns a secret's variables.
        call: Runs a build function by its id, with its input, keeping changes in a folder.
    """

    mount_name: Callable[[str], str]
    secret_values: Callable[[str], dict[str, str]]
    call: Callable[[str, api.FunctionInput, Path, BuildLog], Awaitable[None]]


class Images:
    """The images of a state folder.

    Args:
        folder: Holds what builds leave.
        strict: Refuse images with parts that cannot be had.
        notice: Tells the user something, once.
    """

    def __init__(
        self,
        records: Records,
        folder: Path,
        builder: ImageBuilder,
        around: Surroundings,
        *,
        strict: bool = False,
        notice: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._records = records
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        self._builder = builder
        self._around = around
        self._strict = strict
        self._notice = notice
        self._recipes: dict[str, Recipe] = {}
        self._functions: dict[str, str] = {}
        self._verified: dict[str, Built] = {}
        self._snapshots = Snapshots(records, folder)
        self._held: dict[str, str] = {}
        self.builds = Builds()

    def add(self, image: api.Image, function_id: str = "", *, force: bool = False) -> str:
        """Record an image and return its id, the same for the same definition.

        With ``force`` it gets an id of its own, so that it is built anew; later requests for the
        same definition get that one. ``function_id`` is its build function.
        """
        key = content_id("im", self._content(image))
        newest = self._records.by_name(_NEWEST, "", key)
        image_id = newest.body.decode() if newest else key
        if force:
            image_id = new_id("im")
            self._records.put(_NEWEST, "", key, f"newest-{key}", image_id.encode())
        if self._records.by_id(image_id) is None:
            body = image.SerializeToString(deterministic=True)
            self._records.put(_KIND, "", image_id, image_id, body)
        if function_id:
            self._functions[image_id] = function_id
        return image_id

    def known(self, image_id: str) -> bool:
        """Return whether there is such an image."""
        record = self._records.by_id(image_id)
        return record is not None and (record.kind == _KIND or self._snapshots.has(image_id))

    def is_snapshot(self, image_id: str) -> bool:
        """Return whether an image holds the files of a container, which nothing can build again."""
        return self._snapshots.has(image_id) or self._snapshots.was_removed(image_id)

    def recipe(self, image_id: str) -> Recipe:
        """Return what an image says, from its base up."""
        if image_id not in self._recipes:
            image = self._definition(image_id)
            if image is None:
                return Recipe()
            base = self._base(image)
            below = self.recipe(base) if base else None
            self._recipes[image_id] = lay_over(below, image, self._around.mount_name)
        return self._recipes[image_id]

    def chain(self, image_id: str) -> list[str]:
        """Return an image and the images below it, lowest first."""
        found: list[str] = []
        while image_id and (image := self._definition(image_id)) is not None:
            found.insert(0, image_id)
            image_id = self._base(image)
        return found

    def ready(self, image_id: str) -> Built | None:
        """Return an image's build if it is whole and holds; those below it included."""
        if not image_id:
            return host_image()
        image = self._definition(image_id)
        if image is None:
            return None
        built = current_build(self._folder / image_id)
        if self.is_snapshot(image_id):
            return built if built is not None and built.is_there() else None
        below = self.ready(self._base(image))
        if below is None or built is None or built.base != below.key or not built.holds():
            return None
        if self._strict and built.lacking:
            return None
        return built

    async def built(self, image_id: str) -> Built:
        """Return an image's build; make it first if it is missing or does not hold any more.

        Raises:
            LocalModalError: It cannot be built.
        """
        if self._snapshots.was_removed(image_id):
            self._refuse_to_build(image_id)
        return await self._built(image_id)

    async def _built(self, image_id: str) -> Built:
        """Return an image's build, as `built`; a removed snapshot's too, for what runs in it."""
        verified = self._verified.get(image_id)
        if verified is not None and verified.is_there():
            return verified
        built = self.ready(image_id)
        if built is None:
            build = self.start(image_id)
            if build.task is None:
                raise LocalModalError(build.error)
            return await asyncio.shield(build.task)
        self._verified[image_id] = built
        self._tell(built)
        return built

    def start(self, image_id: str) -> Build:
        """Start building an image, or join the build under way."""
        if (build := self.builds.under_way.get(image_id)) is not None:
            return build
        values = self._secrets(image_id).values()
        log = BuildLog(self._folder / image_id / _LOG, values)
        build = Build(image_id, log, _described(self.recipe(image_id)))
        self.builds.under_way[image_id] = build
        self.builds.recent.append(build)
        build.task = asyncio.get_running_loop().create_task(self._build(image_id, build))
        build.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return build

    def log_lines(self, image_id: str) -> list[api.TaskLogs]:
        """Return the log of an image's last build; empty for one that needed none."""
        if (build := self.builds.under_way.get(image_id)) is not None:
            return build.log.lines
        return list(kept_lines(self._folder / image_id / _LOG))

    async def stop(self) -> None:
        """End the builds under way; what they made so far is never used."""
        tasks = [build.task for build in self.builds.under_way.values() if build.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def usage(self) -> list[ImageUse]:
        """Return what each image takes on disk, largest first."""
        folders = [path for path in self._folder.iterdir() if path.is_dir()]
        uses = [
            ImageUse(path.name, size_of(path), built=current_build(path) is not None)
            for path in folders
        ]
        return sorted(uses, key=lambda use: use.bytes, reverse=True)

    async def prune(self, used: Iterable[str]) -> list[ImageUse]:
        """Remove the builds of images that are neither used nor below a used one; keep snapshots.

        Args:
            used: Ids of images that functions use; those that containers run in are used anyway.
        """
        kept = self._with_those_below({*used, *self._snapshots.all(), *self._in_use()})
        removed: list[ImageUse] = []
        for use in self.usage():
            if use.image_id in kept:
                continue
            async with file_lock(self._folder / use.image_id / "lock"):
                await asyncio.to_thread(remove_tree, self._folder / use.image_id)
            removed.append(use)
        await self._forget_snapshots(but=kept)
        return removed

    def hold(self, holder: str, image_id: str) -> None:
        """Keep an image while something of this name runs in it."""
        self._held[holder] = image_id

    async def let_go(self, holder: str) -> None:
        """It has ended: what was only kept for it goes."""
        if self._held.pop(holder, ""):
            await self._forget_needless()

    async def snapshot(self, base_id: str, spec: ContainerSpec) -> str:
        """Keep a running container's files as an image on top of its own; return the image's id.

        Raises:
            LocalModalError: They could not be kept.
        """
        base = await self._built(base_id)
        return await self._snapshots.take(base_id, base, spec["lowers"], partial(pack, spec))

    async def snapshot_folder(
        self, spec: ContainerSpec, root: Path, path: str, mounted: Iterable[str]
    ) -> str:
        """Keep a folder of a running container as an image of its own; return the image's id.

        Raises:
            LocalModalError: It could not be kept.
        """
        packing = partial(pack_folder, spec, root, path, mounted=frozenset(mounted))
        return await self._snapshots.take("", host_image(), (), packing)

    async def remove_snapshot(self, image_id: str) -> None:
        """Let nobody use a snapshot any more; its files go with the last image or container on it."""
        self._snapshots.remove(image_id)
        self._verified.pop(image_id, None)
        await self._forget_needless()

    def _in_use(self) -> set[str]:
        """Return the images that something runs in, is made of or is made on at this moment."""
        taken = self._snapshots.under_way
        return {*self._held.values(), *self.builds.under_way, *taken, *taken.values()}

    def _with_those_below(self, image_ids: Iterable[str]) -> set[str]:
        ids = {*image_ids}
        return ids | {below for image_id in ids for below in self.chain(image_id)}

    async def _forget_needless(self) -> None:
        """Remove the files of removed snapshots that no image that is there is based on."""
        if removed := self._snapshots.removed():
            there = {path.name for path in self._folder.iterdir()} - removed
            await self._forget_snapshots(but=self._with_those_below(there | self._in_use()))

    async def _forget_snapshots(self, *, but: set[str]) -> None:
        for image_id in self._snapshots.removed() - but:
            await self._snapshots.forget(image_id)

    async def _build(self, image_id: str, build: Build) -> Built:
        started = time.monotonic()
        try:
            self._refuse_to_build(image_id)
            image = self._definition(image_id) or api.Image()
            base = await self.built(self._base(image))
            folder = self._folder / image_id
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            async with file_lock(folder / "lock"):
                if (built := self.ready(image_id)) is not None:  # another plane built it
                    return built
                built = await self._make(image_id, image, base, build)
                self._verified[image_id] = built  # its log has named what is lacking
                return built
        except (LocalModalError, OSError) as error:
            build.error = str(error)
            raise
        except asyncio.CancelledError:
            build.error = "The build was interrupted."
            raise
        finally:
            build.took_s = time.monotonic() - started
            build.log.finish()
            del self.builds.under_way[image_id]

    def _refuse_to_build(self, image_id: str) -> None:
        """Refuse an image that only its files could bring back."""
        if self.is_snapshot(image_id) or (image_id and not self.known(image_id)):
            msg = (
                f"The image {image_id!r} is not here any more. If it was a snapshot, take it again "
                "with snapshot_filesystem()."
            )
            raise LocalModalError(msg)

    async def _make(self, image_id: str, image: api.Image, base: Built, build: Build) -> Built:
        """Build into a new folder, and make that the current one when it is whole."""
        parent = self._folder / image_id
        await asyncio.to_thread(remove_halves, parent)
        folder = parent / secrets.token_hex(4)
        folder.mkdir(mode=0o700)
        job = Job(
            recipe=self.recipe(image_id),
            base=base,
            folder=folder,
            log=build.log,
            secrets=self._secrets(image_id),
            installs_below=self._installs(image_id),
            strict=self._strict,
        )
        if function_id := self._functions.get(image_id):
            given = image.build_function.input
            job.call = lambda changes: self._around.call(function_id, given, changes, build.log)
        try:
            built = await self._builder.build(job)
            make_current(folder, built)
        except BaseException:
            await asyncio.to_thread(remove_tree, folder)
            raise
        return built

    def _installs(self, image_id: str) -> tuple[Install, ...]:
        below = self.chain(image_id)[:-1]
        steps = (step for name in below for step in self.recipe(name).steps)
        return tuple(step for step in steps if isinstance(step, Install))

    def _definition(self, image_id: str) -> api.Image | None:
        record = self._records.by_id(image_id) if image_id else None
        return api.Image.FromString(record.body) if record is not None else None

    @staticmethod
    def _base(image: api.Image) -> str:
        return next((base.image_id for base in image.base_images), "")

    def _secrets(self, image_id: str) -> dict[str, str]:
        image = self._definition(image_id) or api.Image()
        found: dict[str, str] = {}
        for secret_id in image.secret_ids:
            found.update(self._around.secret_values(secret_id))
        return found

    def _content(self, image: api.Image) -> bytes:
        """Return what makes an image what it is: a secret made on the spot counts by its values."""
        plain = api.Image()
        plain.CopyFrom(image)
        del plain.secret_ids[:]
        content = hashlib.sha256(plain.SerializeToString(deterministic=True))
        for secret_id in image.secret_ids:
            record = self._records.by_id(secret_id)
            named = record is not None and record.name != secret_id
            values = secret_id if named else self._around.secret_values(secret_id)
            content.update(json.dumps(values, sort_keys=True).encode())
        return content.digest()

    def _tell(self, built: Built) -> None:
        """Name the parts of an image that could not be had, once."""
        if built.lacking:
            self._notice(
                f"an image needs what this machine does not have; it goes on without: "
                f"{'; '.join(built.lacking)}"
            )


def _described(recipe: Recipe) -> str:
    kinds = [type(step).__name__ for step in recipe.steps]
    return ", ".join(dict.fromkeys(kinds)) or "settings"
