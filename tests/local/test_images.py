"""What an image means to a container when it is not built."""

from __future__ import annotations

from pathlib import Path

import pytest

from modalkit.local.images import Images
from modalkit.local.protocol import api
from modalkit.local.state import Records


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(Records(tmp_path / "records.db"))


def recipe_of(images: Images, *commands: str, mount: str = ""):
    """Return the recipe of an image with these Dockerfile lines on an ordinary base."""
    base = images.add(api.Image(dockerfile_commands=["FROM python", "RUN pip install pip wheel"]))
    image = api.Image(
        base_images=[api.BaseImage(docker_tag="base", image_id=base)],
        dockerfile_commands=["FROM base", *commands],
        context_mount_id=mount,
    )
    return images.recipe(images.add(image))


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ("ENV A=1", {"A": "1"}),
        ("ENV A='two words' B=x", {"A": "two words", "B": "x"}),
        ("ENV A the old form", {"A": "the old form"}),
        ("ENV PATH=/bin:$NOWHERE", {"PATH": "/bin:$NOWHERE"}),
    ],
)
def test_env_lines(images, command, variables):
    """ENV lines are read as Docker reads them."""
    assert recipe_of(images, command).env == variables


def test_env_refers_to_earlier_lines(images):
    """A variable may use one set before it."""
    assert recipe_of(images, "ENV A=1", "ENV B=$A/${A}").env == {"A": "1", "B": "1/1"}


def test_workdir_and_copies(images):
    """WORKDIR and COPY from the context are kept; COPY from another image is not."""
    recipe = recipe_of(
        images, "WORKDIR '/a b'", "COPY . /x", "COPY --from=uv /uv /uv", mount="mo-1"
    )
    assert recipe.workdir == "/a b"
    assert recipe.copies == (("mo-1", ".", "/x"),)


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("RUN python -m pip install 'pytest<100' nope-1[x]==2 --index-url https://x", ["nope-1"]),
        (
            "RUN /.uv/uv pip install --python $(command -v python) --compile-bytecode nope-2",
            ["nope-2"],
        ),
        ("RUN python -m pip install -r /.requirements.txt", []),
    ],
)
def test_missing_packages_are_named(images, command, names):
    """Packages that an image would install are compared with what is installed."""
    assert recipe_of(images, command).missing_packages() == names


def test_other_steps_are_kept_for_the_notice(images):
    """What cannot be done is told, apart from what every image begins with."""
    assert recipe_of(images, "RUN apt-get install -y git").steps == ("apt-get install -y git",)


def test_the_same_image_has_the_same_id(images):
    """An image is known by its definition."""
    first = images.add(api.Image(dockerfile_commands=["FROM x"]))
    assert first == images.add(api.Image(dockerfile_commands=["FROM x"]))
    assert first != images.add(api.Image(dockerfile_commands=["FROM y"]))
