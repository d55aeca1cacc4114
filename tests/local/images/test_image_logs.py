"""Logs of image builds, and names that images were published under, as the client shows them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import modal
import pytest

LAYERS = modal.Image.debian_slim().run_commands("echo the lower").run_commands("echo the upper")


def plain() -> None:
    """Do nothing, in an image."""


@pytest.fixture
def image(client) -> modal.Image:
    """An image of two layers with something to tell each, built."""
    app = modal.App()
    app.function(image=LAYERS, serialized=True)(plain)
    with app.run(client=client):
        LAYERS.hydrate(client)
    return LAYERS


@pytest.fixture
def modal_cli(plane):
    """Run the modal command against the plane; return what it printed."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("modal")), *words],
            env={**os.environ, **plane.exports},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


needs_logs = pytest.mark.skipif(not hasattr(modal.Image, "logs"), reason="newer than this modal")


@needs_logs
def test_a_build_log_is_of_the_last_layer(image, modal_cli):
    """`modal image logs` shows what the last layer's build printed; `--all` every layer's."""
    last = modal_cli("image", "logs", image.object_id)
    assert "the upper" in last.stdout
    assert "the lower" not in last.stdout
    every = modal_cli("image", "logs", image.object_id, "--all").stdout
    assert every.index("the lower") < every.index("the upper")


@needs_logs
def test_a_build_log_ends_with_its_newest_lines(image):
    """`Image.logs.tail` gives the newest entries over all layers, oldest of them first."""
    told = [entry.message for entry in image.logs.tail(3)]
    assert told[-1] == "the upper\n"
    assert len(told) == 3


@needs_logs
def test_the_log_of_no_image_is_refused(modal_cli):
    """An id that no image has is named."""
    done = modal_cli("image", "logs", "im-0000000000000000000000")
    assert done.returncode == 1
    assert "im-0000000000000000000000" in done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(modal.Image, "publish"), reason="newer than this modal")
def test_names_of_images_are_listed(image, client, modal_cli):
    """`modal image names list` shows the names of an environment, and what they begin with."""
    app = modal.App()
    with app.run(client=client):
        image.publish("tested:v1", client=client)
    listed = modal_cli("image", "names", "list", "--json", "--prefix", "test").stdout
    assert image.object_id in listed
    assert '"tested:v1"' in listed
    assert modal_cli("image", "names", "list", "--json", "--prefix", "other").stdout.strip() == "[]"


@pytest.mark.skipif(not hasattr(modal.Image, "publish"), reason="newer than this modal")
def test_a_name_without_an_environment_is_of_the_default_one(image, client):
    """What is published with no environment named is found by an app of the default one."""
    app = modal.App()
    with app.run(client=client):
        image.publish("shared", client=client)
    found = modal.Image.from_name("shared", environment_name="main")
    app.function(image=found, serialized=True)(plain)
    with app.run(client=client):
        assert found.object_id == image.object_id
