"""The packages of an image: the whole tree resolved by the real pip and uv, out of a folder of wheels."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from modalkit.declare.image import ImageSpec
from modalkit.lock import LockedImage, LockedService
from modalkit.lock.pinned_image import pinned_image
from modalkit.locking.packages import resolve_packages


def wheel(folder: Path, name: str, version: str, requires: str = "") -> str:
    """Make a wheel and return its hash."""
    info = f"{name}-{version}.dist-info"
    requirement = f"Requires-Dist: {requires}\n" if requires else ""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "")
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirement}"
        file.writestr(f"{info}/METADATA", about)
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(
            f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wheels(tmp_path, monkeypatch) -> dict[str, str]:
    """A folder of wheels that pip and uv may ask, and nothing else; hashes by name."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    hashes = {
        "outer": wheel(folder, "outer", "1.2", "inner>=1"),
        "inner": wheel(folder, "inner", "3.4"),
    }
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    (tmp_path / "uv.toml").write_text(f'no-index = true\nfind-links = ["{folder}"]\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    return hashes


def test_pip_resolves_the_whole_tree(wheels):
    """What a requirement needs is locked too, each with the hash of its wheel."""
    found = resolve_packages(ImageSpec(python="3.12").pip("outer>=1"), "pip")
    assert found.resolved_by == "pip"
    assert found.lines == (
        f"inner==3.4 --hash=sha256:{wheels['inner']}",
        f"outer==1.2 --hash=sha256:{wheels['outer']}",
    )


def test_uv_resolves_the_same(wheels):
    """Where uv is installed it is asked first."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed here")
    found = resolve_packages(ImageSpec(python="3.12").pip("outer>=1"))
    assert found.resolved_by == "uv"
    assert [line.split()[0] for line in found.lines] == ["inner==3.4", "outer==1.2"]
    assert wheels["inner"] in found.lines[0]


def test_without_an_index_the_pins_are_locked_and_it_is_said(wheels):
    """What cannot be resolved leaves the image's own pins, with the reason."""
    found = resolve_packages(ImageSpec().pip("outer>=1", "missing==9"))
    assert found.resolved_by == "declared"
    assert found.lines == ("missing==9",)
    assert "could not resolve" in found.note
    assert "without hashes" in found.note


def test_locked_versions_are_what_is_installed(wheels):
    """On an empty Python the whole locked tree comes first; an image with its own packages keeps them."""
    image = ImageSpec(python="3.12").apt("git").pip("outer>=1")
    found = resolve_packages(image, "pip")
    locked = LockedService(
        declared={"packages": "outer>=1"},
        image=LockedImage(packages=found.lines, resolved_by=found.resolved_by, python="3.12"),
    )
    pinned = pinned_image(image, locked)
    assert pinned.layers[1].requirements == (
        "inner==3.4 ; python_version == '3.12'",
        "outer==1.2 ; python_version == '3.12'",
    )
    assert (pinned.layers[0], pinned.layers[2]) == image.layers
    changed = image.pip("another==1")
    assert pinned_image(changed, locked) == changed
    with_packages = ImageSpec.registry("org/engine:1").pip("outer>=1")
    assert pinned_image(with_packages, locked) == with_packages
    assert pinned_image(image, None) == image
