"""What counts as installed, and what is better not fetched."""

from __future__ import annotations

import zipfile

import pytest

from modalkit.local.images.gpu_stack import gpu_constraints, is_gpu_package
from modalkit.local.images.requirements import Installed


@pytest.fixture
def installed(make_wheel, tmp_path) -> Installed:
    """One folder with `one` 1.5, whose extra `more` needs `two`, and one with `one` 1.0."""
    for version in ("1.5", "1.0"):
        make_wheel("one", version, 'two>=2; extra == "more"')
        wheel = tmp_path / "wheels" / f"one-{version}-py3-none-any.whl"
        zipfile.ZipFile(wheel).extractall(tmp_path / version)
    return Installed([str(tmp_path / "1.5"), str(tmp_path / "1.0")])


@pytest.mark.parametrize(
    ("line", "met"),
    [
        ("one", True),
        ("one>=1.2  # why", True),
        ("one==1.0", False),
        ("one[more]", False),
        ("two", False),
        ("two; python_version < '3'", True),
        ("one @ file:///x", False),
        ("--pre", False),
        ("./one.whl", False),
        ("# a comment", True),
        ("", True),
    ],
)
def test_what_is_there(installed, line, met):
    """A requirement is met by what the first folder has; a link or an option never is."""
    assert installed.satisfies(line) is met


def test_the_first_folder_hides_the_second(installed):
    """Only the version that would be imported counts."""
    assert installed.version("one") == "1.5"
    assert [found.version for found in installed.all()] == ["1.5"]


@pytest.mark.parametrize("line", ["torch==2.7.1", "vllm[x]", "nvidia-cublas-cu12", "Flash_Attn>2"])
def test_packages_made_for_a_gpu(line):
    """Names are compared as installers compare them; version and extras do not matter."""
    assert is_gpu_package(line)


def test_what_is_no_gpu_package():
    """Plain packages, options and paths are none."""
    assert not any(map(is_gpu_package, ["numpy", "torchmetrics", "--pre", "./torch.whl", ""]))


def test_gpu_packages_stay_away_as_dependencies(installed):
    """One that is not here can have no version; one that was asked for by name is left alone."""
    held = set(gpu_constraints(installed, ["vllm==1"]))
    assert "torch<0" in held
    assert "vllm<0" not in held
