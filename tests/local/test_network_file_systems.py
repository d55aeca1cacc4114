"""Network file systems, which Modal has deprecated: shared folders, through the real client."""

from __future__ import annotations

import io
from pathlib import Path

import modal
import pytest

# The client says at each use that Modal has deprecated them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def nfs(name: str) -> modal.NetworkFileSystem:
    return modal.NetworkFileSystem.from_name(name, create_if_missing=True)


@pytest.fixture
def unnamed(client):
    """A network file system without a name."""
    with modal.NetworkFileSystem.ephemeral(client=client) as system:
        yield system


def paths(system: modal.NetworkFileSystem, path: str) -> list[str]:
    return [entry.path for entry in system.listdir(path)]


def test_files_are_written_read_listed_and_removed(unnamed):
    """A client finds what it wrote, by path, folder and pattern; a second write replaces the first."""
    assert unnamed.listdir("/") == []
    unnamed.write_file("a.txt", io.BytesIO(b"first"))
    unnamed.write_file("/a.txt", io.BytesIO(b"second"))
    unnamed.write_file("folder/b.txt", io.BytesIO(b"b"))
    assert b"".join(unnamed.read_file("a.txt")) == b"second"
    assert paths(unnamed, "/") == ["a.txt", "folder"]
    assert paths(unnamed, "/folder") == ["b.txt"]
    assert paths(unnamed, "folder/b.txt") == ["folder/b.txt"]
    assert paths(unnamed, "**") == ["a.txt", "folder", "folder/b.txt"]
    assert paths(unnamed, "*/*.txt") == ["folder/b.txt"]
    unnamed.remove_file("a.txt")
    with pytest.raises(modal.exception.InvalidError, match="recursive"):
        unnamed.remove_file("folder")
    unnamed.remove_file("folder", recursive=True)
    assert unnamed.listdir("/") == []


def test_local_files_and_folders_are_added(unnamed, tmp_path: Path):
    """`add_local_file` and `add_local_dir` keep names and folders; a large file comes back whole."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "small.txt").write_text("small")
    large = bytes(range(256)) * 40_000
    (tmp_path / "large.bin").write_bytes(large)
    unnamed.add_local_dir(tmp_path, "/given")
    unnamed.add_local_file(tmp_path / "below" / "small.txt")
    assert paths(unnamed, "**") == [
        "given",
        "given/below",
        "given/below/small.txt",
        "given/large.bin",
        "small.txt",
    ]
    assert b"".join(unnamed.read_file("/given/large.bin")) == large


@pytest.mark.parametrize("pattern", ["a**", "**a/b", "a/b**"])
def test_two_stars_within_a_name_are_refused(unnamed, pattern):
    """They stand for folders only, which the error says with the pattern."""
    with pytest.raises(modal.exception.InvalidError, match="two stars stand for folders"):
        unnamed.listdir(pattern)


@pytest.mark.parametrize("path", ["missing.txt", "missing/missing.txt"])
def test_what_is_not_there_is_said(unnamed, path):
    """Reading, listing and removing a missing path is the client's FileNotFoundError, or NotFoundError."""
    with pytest.raises(FileNotFoundError):
        list(unnamed.read_file(path))
    with pytest.raises(FileNotFoundError):
        unnamed.remove_file(path)
    with pytest.raises(modal.exception.NotFoundError):
        unnamed.listdir(path)


@pytest.mark.parametrize("path", ["../outside", "/../outside", "a/../../outside"])
def test_a_path_leads_nowhere_else(unnamed, path):
    """Nothing outside its folder is written or read."""
    with pytest.raises(modal.exception.InvalidError, match="outside"):
        unnamed.write_file(path, io.BytesIO(b"x"))


def test_a_link_of_a_container_leads_nowhere_else(plane, namespaces):
    """A link that a container makes to a file of this machine is not followed for a client."""
    code = (
        "import modal\n"
        "app = modal.App('links')\n"
        "system = modal.NetworkFileSystem.from_name('links', create_if_missing=True)\n"
        "def link():\n"
        "    import os\n"
        "    os.symlink('/etc/passwd', '/shared/passwd')\n"
        "    os.symlink('/etc', '/shared/etc')\n"
        "made = app.function(serialized=True, network_file_systems={'/shared': system})(link)\n"
        "with app.run():\n"
        "    made.remote()\n"
        "for path in ('passwd', 'etc/passwd'):\n"
        "    try:\n"
        "        print(b''.join(system.read_file(path)))\n"
        "    except modal.exception.Error as error:\n"
        "        print('refused:', error)\n"
        "try:\n"
        "    print(system.listdir('etc/*'))\n"
        "except modal.exception.Error as error:\n"
        "    print('refused:', error)\n"
        "print([entry.path for entry in system.listdir('*')])\n"
        "print([entry.path for entry in system.listdir('*/*')])\n"
    )
    done = plane.python(code)
    assert done.stdout.count("a link out of the network file system") == 3, (
        done.stdout + done.stderr
    )
    assert done.stdout.endswith("['etc', 'passwd']\n[]\n"), done.stdout + done.stderr


def test_containers_share_it_at_once(plane):
    """What one container writes the other reads without a commit, and the client as well."""
    code = (
        "import modal\n"
        "app = modal.App('sharing')\n"
        "system = modal.NetworkFileSystem.from_name('sharing', create_if_missing=True)\n"
        "options = {'serialized': True, 'network_file_systems': {'/shared': system}}\n"
        "def write(text):\n"
        "    open('/shared/text', 'w').write(text)\n"
        "    return read_again.remote()\n"
        "def read():\n"
        "    return open('/shared/text').read()\n"
        "read_again = app.function(name='read', **options)(read)\n"
        "writing = app.function(name='write', **options)(write)\n"
        "with app.run():\n"
        "    print(writing.remote('one'), writing.remote('two'))\n"
        "print(b''.join(system.read_file('text')))\n"
    )
    done = plane.python(code)
    assert "one two\nb'two'\n" in done.stdout, done.stdout + done.stderr


def test_a_sandbox_mounts_it(make_sandbox, client):
    """A sandbox writes to it as a function does."""
    system = nfs("of-sandboxes")
    system.hydrate(client)
    sandbox = make_sandbox(
        "sh", "-c", "echo written > /cache/a.txt", network_file_systems={"/cache": system}
    )
    sandbox.wait()
    assert b"".join(system.read_file("a.txt")) == b"written\n"


def test_a_name_that_is_a_volumes(client):
    """A volume's name is told apart, as Modal does, and a name that nobody made is refused."""
    modal.Volume.from_name("is-a-volume", create_if_missing=True).hydrate(client)
    with pytest.raises(modal.exception.InvalidError, match="already exists as a Volume"):
        modal.NetworkFileSystem.from_name("is-a-volume").hydrate(client)
    with pytest.raises(modal.exception.NotFoundError, match="modal nfs create nobodys"):
        modal.NetworkFileSystem.from_name("nobodys").hydrate(client)


def test_it_outlives_the_plane_and_ends_with_its_environment(planes, tmp_path: Path):
    """Files are there after a restart; `modal environment delete` and `nfs delete` remove them."""
    state = tmp_path / "state"
    first = planes(state)
    assert first.modal("environment", "create", "shelf").returncode == 0
    for words in (("nfs", "create", "kept"), ("nfs", "create", "other", "-e", "shelf")):
        done = first.modal(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "file.txt").write_text("kept")
    done = first.modal("nfs", "put", "kept", str(tmp_path / "file.txt"), "/in/file.txt")
    assert done.returncode == 0, done.stdout + done.stderr
    first.process.terminate()
    first.process.wait()
    second = planes(state)
    assert second.modal("nfs", "get", "kept", "/in/file.txt", "-").stdout.startswith("kept")
    assert len(list((state / "network").iterdir())) >= 1
    assert second.modal("environment", "delete", "shelf", "--yes").returncode == 0
    assert second.modal("nfs", "delete", "kept", "--yes").returncode == 0
    assert list((state / "network").iterdir()) == []
