"""Which build an image has: by content, in layers, whole or not at all."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modalkit.errors import LocalModalError
from modalkit.local.images import Built, Images, Job, Surroundings
from modalkit.local.protocol import api
from modalkit.local.store.database import Database
from modalkit.local.store.records import Records

COMMANDS = st.lists(st.sampled_from(["make", "test", "tidy"]), min_size=1, max_size=5)


def awaited(test):
    """Let pytest run a coroutine."""

    @functools.wraps(test)
    def run(**fixtures):
        asyncio.run(test(**fixtures))

    return run


class Notebook:
    """A builder that carries out a step by writing it down; the step ``fail`` fails."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def build(self, job: Job) -> Built:
        await asyncio.sleep(0.01)
        for step in job.recipe.steps:
            self.done.append(step.command)
            (job.folder / "half").write_text(step.command)
            if step.command == "fail":
                msg = "It failed."
                raise LocalModalError(msg)
        return job.base.above(job.folder.name)


async def _no_function(*_arguments: object) -> None:
    """There are no build functions here."""


@pytest.fixture
def open_images(tmp_path: Path) -> Callable[[], tuple[Images, Notebook]]:
    """Open the images of one folder, as another plane would."""

    def open_them() -> tuple[Images, Notebook]:
        builder = Notebook()
        around = Surroundings(lambda _mount: "", lambda _secret: {"KEY": "value"}, _no_function)
        records = Records(Database(tmp_path / "records.db"))
        return Images(records, tmp_path / "images", builder, around), builder

    return open_them


def chain(images: Images, commands: list[str]) -> list[str]:
    """Declare an image a layer at a time, as the client does; return the ids."""
    ids: list[str] = []
    for command in ["true", *commands]:
        below = [api.BaseImage(docker_tag="base", image_id=ids[-1])] if ids else []
        lines = ["FROM base", f"RUN {command}"] if ids else ["FROM python:3-slim"]
        ids.append(images.add(api.Image(base_images=below, dockerfile_commands=lines)))
    return ids


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(one=COMMANDS, other=COMMANDS)
def test_ids_follow_the_chain(open_images, one, other):
    """Two chains share the ids of their common beginning and none after it."""
    images, _ = open_images()
    shared = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    ids, others = chain(images, one), chain(images, other)
    assert ids[: shared + 1] == others[: shared + 1]
    assert not set(ids[shared + 1 :]) & set(others[shared + 1 :])


@awaited
async def test_a_late_change_builds_from_there(open_images):
    """Only the layers after a change are built."""
    images, notebook = open_images()
    await images.built(chain(images, ["a", "b", "c"])[-1])
    await images.built(chain(images, ["a", "b", "d"])[-1])
    assert notebook.done == ["a", "b", "c", "d"]


@awaited
async def test_planes_build_an_image_once(open_images):
    """Two planes on one folder, and two callers in one, wait for one build."""
    (one, first), (two, second) = open_images(), open_images()
    image_id = chain(one, ["a", "b"])[-1]
    built = await asyncio.gather(*(images.built(image_id) for images in (one, two, one, two)))
    assert len({found.key for found in built}) == 1
    assert sorted(first.done + second.done) == ["a", "b"]


@awaited
async def test_a_failed_build_leaves_nothing(open_images):
    """A build that fails says so each time it is tried, and leaves no build behind."""
    images, notebook = open_images()
    image_id = chain(images, ["a", "fail"])[-1]
    for _ in range(2):
        with pytest.raises(LocalModalError, match="It failed"):
            await images.built(image_id)
    assert notebook.done == ["a", "fail", "fail"]
    assert images.ready(image_id) is None
    assert [build.status for build in images.builds.recent][-1] == "failed"


@awaited
async def test_an_interrupted_build_is_made_anew(open_images, tmp_path):
    """What a killed plane left is not taken for a build, and goes at the next one."""
    images, notebook = open_images()
    image_id = chain(images, ["a"])[-1]
    half = tmp_path / "images" / image_id / "0badcafe"
    half.mkdir(parents=True)
    (half / "half").touch()
    assert images.ready(image_id) is None
    await images.built(image_id)
    assert notebook.done == ["a"]
    assert not half.exists()


@awaited
async def test_an_image_whose_build_is_gone_is_built_again(open_images):
    """A build below that was replaced is not the one an image was built on."""
    images, _ = open_images()
    ids = chain(images, ["a", "b"])
    await images.built(ids[-1])
    await images.prune(used=ids[-1:])
    again, _ = open_images()
    assert again.ready(ids[-1]) is not None
    await again.prune(used=[])
    assert again.ready(ids[-1]) is None
    assert again.usage() == []


@awaited
async def test_force_gives_an_image_of_its_own(open_images):
    """A forced build is another image, which later requests for the same definition get."""
    images, _ = open_images()
    image = api.Image(dockerfile_commands=["FROM python:3-slim", "RUN a"])
    plain, forced = images.add(image), images.add(image, force=True)
    assert plain != forced
    assert images.add(image) == forced


def test_a_secret_made_on_the_spot_counts_by_its_values(open_images):
    """Its id differs from run to run; what it holds decides whether the image is the same."""
    images, _ = open_images()
    ids = {images.add(api.Image(secret_ids=[f"st-{number}"])) for number in range(3)}
    assert len(ids) == 1


@awaited
async def test_what_this_machine_no_longer_has_is_built_anew(open_images, tmp_path):
    """A build holds while this machine meets the requirements that it met when it was made."""
    images, _ = open_images()
    built = await images.built(chain(images, ["a"])[-1])
    assert replace(built, reused=("packaging>=1",)).holds()
    assert not replace(built, reused=("packaging<1",)).holds()
    assert not replace(built, layers=(str(tmp_path / "gone"),)).holds()
