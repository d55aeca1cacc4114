"""Snapshots among the other images: what keeps their files, and what becomes of half of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from modalkit.errors import LocalModalError
from modalkit.local.images import Built, Images, Job, Surroundings
from modalkit.local.processes.launch import ContainerSpec
from modalkit.local.protocol import api
from modalkit.local.store.database import Database
from modalkit.local.store.records import Records


class Nothing:
    """A builder whose builds add nothing."""

    async def build(self, job: Job) -> Built:
        return job.base.above(job.folder.name)


async def _no_function(*_arguments: object) -> None:
    """There are no build functions here."""


@pytest.fixture
def images(tmp_path: Path) -> Images:
    around = Surroundings(lambda _mount: "", lambda _secret: {}, _no_function)
    records = Records(Database(tmp_path / "records.db"))
    return Images(records, tmp_path / "images", Nothing(), around)


@pytest.fixture
def kept(images: Images, tmp_path: Path) -> Callable[[], set[str]]:
    """Tell which images have files."""
    return lambda: {path.name for path in (tmp_path / "images").iterdir()}


@pytest.fixture
def container(images: Images, tmp_path: Path) -> Callable[..., ContainerSpec]:
    """Describe a container of an image that has written some files."""
    (tmp_path / "mounted").mkdir()

    def describe(base_id: str = "", files: int = 1) -> ContainerSpec:
        changes = tmp_path / f"changes of {base_id}"
        written = changes / "of" / "opt" / "upper"
        written.mkdir(parents=True, exist_ok=True)
        for number in range(files):
            (written / f"file{number}").write_text(base_id)
        base = images.ready(base_id)
        assert base is not None
        lowers = [*base.layers]
        return {
            "changes": str(changes),
            "layer": str(tmp_path / "mounted"),
            "lowers": lowers,
            "keep": [],
            "binds": [],
        }

    return describe


def test_the_files_of_removed_ones_go_with_the_last_on_top(images, kept, container):
    """In a row of three the first two can be removed; the third is whole, and takes them with it."""

    async def main() -> None:
        one = await images.snapshot("", container())
        two = await images.snapshot(one, container(one))
        three = await images.snapshot(two, container(two))
        await images.remove_snapshot(one)
        await images.remove_snapshot(two)
        assert not images.known(one)
        with pytest.raises(LocalModalError, match="not here any more"):
            await images.built(two)
        assert (await images.built(three)).is_there()
        await images.prune(used=[])
        assert kept() == {one, two, three}
        await images.remove_snapshot(three)
        assert kept() == set()

    asyncio.run(main())


def test_a_removed_one_stays_while_something_runs_in_it(images, kept, container):
    """Its container goes on, can be kept again, and its files go when nothing needs them."""

    async def main() -> None:
        one = await images.snapshot("", container())
        images.hold("a sandbox", one)
        await images.remove_snapshot(one)
        await images.prune(used=[])
        assert kept() == {one}
        two = await images.snapshot(one, container(one))
        await images.let_go("a sandbox")
        assert (await images.built(two)).is_there()
        await images.remove_snapshot(two)
        assert kept() == set()

    asyncio.run(main())


def test_a_built_image_on_a_removed_one_stays_until_it_is_pruned(images, kept, container):
    """It needs nothing built again; once nothing uses it, a pruning removes both."""

    async def main() -> None:
        one = await images.snapshot("", container())
        below = [api.BaseImage(docker_tag="base", image_id=one)]
        above = images.add(api.Image(base_images=below, dockerfile_commands=["FROM base"]))
        await images.built(above)
        await images.remove_snapshot(one)
        assert images.ready(above) is not None
        await images.prune(used=[above])
        assert kept() == {one, above}
        await images.prune(used=[])
        assert kept() == set()
        assert not images.is_snapshot(one)

    asyncio.run(main())


def test_an_image_that_something_runs_in_is_not_pruned(images, kept):
    """A sandbox is no function, and its image stays all the same."""

    async def main() -> None:
        image_id = images.add(api.Image(dockerfile_commands=["FROM python:3-slim"]))
        await images.built(image_id)
        images.hold("a sandbox", image_id)
        await images.prune(used=[])
        assert kept() == {image_id}
        await images.let_go("a sandbox")
        await images.prune(used=[])
        assert kept() == set()

    asyncio.run(main())


async def _begun(folder: Path) -> None:
    """Wait until the first file of a snapshot was copied."""
    places = "images/*/*/changes/of/opt/upper/*"
    async with asyncio.timeout(120):
        for _ in iter(lambda: any(folder.glob(places)), True):
            await asyncio.sleep(0)


def _files(layer: str) -> int:
    return len([*Path(layer, "opt").iterdir()])


def test_a_pruning_leaves_what_is_being_taken(images, container, tmp_path):
    """The snapshot is whole, whenever the pruning comes."""

    async def main() -> None:
        taking = asyncio.create_task(images.snapshot("", container(files=600)))
        await _begun(tmp_path)
        await images.prune(used=[])
        built = await images.built(await taking)
        assert _files(built.layers[0]) == 600

    asyncio.run(main())


def test_one_that_is_given_up_leaves_nothing(images, kept, container, tmp_path):
    """When its client goes away meanwhile, nobody copies any more, and what was copied is gone."""

    async def main() -> None:
        taking = asyncio.create_task(images.snapshot("", container(files=600)))
        await _begun(tmp_path)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert kept() == set()

    asyncio.run(main())  # which waits for the threads
    assert kept() == set()


def test_files_that_are_gone_are_no_snapshot(images, kept, container, tmp_path):
    """A container whose folder was removed is refused with the reason, and nothing is left."""

    async def main() -> None:
        spec = container()
        spec["changes"] = str(tmp_path / "gone")
        with pytest.raises(LocalModalError, match="could not be kept: it ended meanwhile"):
            await images.snapshot("", spec)

    asyncio.run(main())
    assert kept() == set()
