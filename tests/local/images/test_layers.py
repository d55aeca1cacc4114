"""Files on their way into an image's layer."""

from __future__ import annotations

import pytest

from modalkit.local.images.layers import finish, place_in, placed
from modalkit.local.protocol import api


@pytest.mark.parametrize(
    ("filename", "source", "destination", "expected"),
    [
        ("/a/b.txt", ".", "/x", ["/x/a/b.txt"]),
        ("/a/b.txt", "a", "/x", ["/x/b.txt"]),
        ("/a/b.txt", "a/b.txt", "/x", ["/x"]),
        ("/a/b.txt", "a/b.txt", "/x/", ["/x/b.txt"]),
        ("/a/b.txt", "a/*.txt", "/x/", ["/x/b.txt"]),
        ("/other", "a", "/x", []),
    ],
)
def test_where_copy_puts_a_file(filename, source, destination, expected):
    """COPY places files as Docker does."""
    found = placed([api.MountFile(filename=filename)], source, destination)
    assert [path for path, _ in found] == expected


def test_a_layer_holds_what_was_changed(tmp_path):
    """Files in folders of the machine's, in masked ones and in new ones come together."""
    changes, layer = tmp_path / "changes", tmp_path / "layer"
    for path in ("/opt/a/x", "/root/y", "/new-top/z", "/new-file"):
        place_in(changes, path).write_text(path)
    (changes / "own/root/upper/mounted/here").mkdir(parents=True)
    assert finish(changes, layer, mounted=["/root/mounted/here"])
    files = sorted(str(path.relative_to(layer)) for path in layer.rglob("*") if path.is_file())
    assert files == ["new-file", "new-top/z", "opt/a/x", "root/y"]
    assert not (layer / "root/mounted").exists()
    assert not changes.exists()


def test_a_layer_without_changes_is_none(tmp_path):
    """What only the mounts of a build left behind makes no layer."""
    changes = tmp_path / "changes"
    (changes / "of/usr/upper").mkdir(parents=True)
    (changes / "own/root/upper/.venv").mkdir(parents=True)
    assert not finish(changes, tmp_path / "layer", mounted=["/root/.venv"])
