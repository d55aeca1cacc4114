"""Folders of sandboxes kept as images, and images mounted in running sandboxes."""

from __future__ import annotations

import sys
from pathlib import Path

import modal
import modal.experimental
import pytest

pytestmark = pytest.mark.usefixtures("namespaces")


def shell(sandbox: modal.Sandbox, script: str) -> str:
    """Run a script in a sandbox and return what it prints."""
    process = sandbox.exec("sh", "-c", script)
    printed = process.stdout.read()
    assert process.wait() == 0, process.stderr.read()
    return printed


def test_a_folder_goes_from_one_sandbox_to_another(make_sandbox):
    """A snapshot of a folder, mounted elsewhere, has its files; what is written there stays apart."""
    first = make_sandbox()
    shell(first, "mkdir -p /work/deep; echo one > /work/deep/a; ln -s deep/a /work/link")
    shell(first, "chmod 640 /work/deep/a; touch /beside")
    image = first.snapshot_directory("/work")
    shell(first, "echo later > /work/deep/a")
    second = make_sandbox()
    second.mount_image("/project/here", image)
    assert (
        shell(second, "cd /project/here; cat link; stat -c %a deep/a; ls")
        == "one\n640\ndeep\nlink\n"
    )
    shell(second, "echo changed > /project/here/deep/a; rm /project/here/link")
    third = make_sandbox()
    third.mount_image("/project/here", image)
    assert shell(third, "cat /project/here/link") == "one\n"


def test_a_mount_covers_a_folder_until_it_is_unmounted(make_sandbox):
    """What was there is hidden, the same path again shows the newer image, and then what was there."""
    source = make_sandbox()
    images = []
    for word in ("one", "two"):
        shell(source, f"mkdir -p /{word}; echo {word} > /{word}/file")
        images.append(source.snapshot_directory(f"/{word}"))
    sandbox = make_sandbox()
    shell(sandbox, "mkdir /place; echo own > /place/own")
    for word, image in zip(("one", "two"), images, strict=True):
        sandbox.mount_image("/place", image)
        assert shell(sandbox, "ls /place; cat /place/file") == f"file\n{word}\n"
    sandbox.unmount_image("/place")
    assert shell(sandbox, "cat /place/own; ls /place") == "own\nown\n"
    with pytest.raises(modal.exception.NotFoundError, match="No image is mounted at '/place'"):
        sandbox.unmount_image("/place")


def test_a_mount_in_use_is_not_taken_away(make_sandbox):
    """A working folder below it is named, and the mount stays."""
    sandbox = make_sandbox()
    sandbox.mount_image("/used", modal.Image.from_scratch())
    process = sandbox.exec("sh", "-c", "cd /used; echo there; read line; echo still")
    assert next(iter(process.stdout)) == "there\n"
    with pytest.raises(modal.exception.Error, match="/used is the working folder of"):
        sandbox.unmount_image("/used")
    process.stdin.write("\n")
    process.stdin.write_eof()
    process.stdin.drain()
    assert process.wait() == 0
    sandbox.unmount_image("/used")


def test_an_image_that_is_not_replaced_stays_whole(make_sandbox, client):
    """Where a second image is refused for a file in use, the first stays, even if it is removed."""
    sandbox = make_sandbox()
    shell(sandbox, "mkdir /work; echo open > /work/opened; echo first > /work/file")
    image = sandbox.snapshot_directory("/work")
    sandbox.mount_image("/used", image)
    process = sandbox.exec("sh", "-c", "exec 3< /used/opened; cat <&3; read line")
    assert next(iter(process.stdout)) == "open\n"
    with pytest.raises(modal.exception.Error, match="cannot be unmounted while its files"):
        sandbox.mount_image("/used", modal.Image.from_scratch())
    modal.experimental.image_delete(image.object_id, client=client)
    assert shell(sandbox, "cat /used/file") == "first\n"
    process.stdin.write_eof()
    process.stdin.drain()
    process.wait()
    sandbox.mount_image("/used", modal.Image.from_scratch())
    assert shell(sandbox, "ls /used") == ""


def test_mounted_images_and_snapshots_of_them(make_sandbox, sandboxes_app):
    """A built image shows what its steps made, an empty one takes files, and both can be kept again."""
    built = modal.Image.debian_slim().run_commands("mkdir /made", "echo made > /made/file")
    sandbox = make_sandbox()
    sandbox.mount_image("/image", built.build(sandboxes_app))
    assert shell(sandbox, "cat /image/made/file") == "made\n"
    sandbox.mount_image("/empty", modal.Image.from_scratch())
    shell(sandbox, "echo new > /empty/new")
    other = make_sandbox()
    other.mount_image("/again", sandbox.snapshot_directory("/empty"))
    assert shell(other, "cat /again/new") == "new\n"


def test_links_are_followed_as_the_sandbox_does(make_sandbox):
    """A link to a folder, absolute or not, leads to the sandbox's folder, not to this machine's."""
    sandbox = make_sandbox()
    shell(sandbox, "mkdir -p /a/b /root/own; echo own > /root/own/file; ln -s /root/own /a/b/link")
    other = make_sandbox()
    for path in ("/a/b/link", "/a/b/../b/link"):
        other.mount_image("/seen", sandbox.snapshot_directory(path))
        assert shell(other, "cat /seen/file") == "own\n"


def test_volumes_below_a_folder_are_no_part_of_it(make_sandbox, client):
    """A mounted volume's place is an empty folder; the volume itself can be kept by its own path."""
    volume = modal.Volume.from_name("below-a-folder", create_if_missing=True, client=client)
    sandbox = make_sandbox(volumes={"/work/volume": volume})
    shell(sandbox, "echo a > /work/volume/a; echo b > /work/b")
    other = make_sandbox()
    other.mount_image("/one", sandbox.snapshot_directory("/work"))
    other.mount_image("/two", sandbox.snapshot_directory("/work/volume"))
    assert (
        shell(other, "ls /one /one/volume /two") == "/one:\nb\nvolume\n\n/one/volume:\n\n/two:\na\n"
    )


def test_this_machines_files_are_no_part_of_it(make_sandbox, tmp_path: Path):
    """A folder that this machine has too is kept with what the image and the sandbox added to it."""
    (tmp_path / "given").write_text("given")
    image = (
        modal.Image.debian_slim()
        .run_commands("echo built > /usr/local/built")
        .add_local_file(tmp_path / "given", "/usr/local/given")
    )
    sandbox = make_sandbox(image=image)
    shell(sandbox, "mkdir /usr/local/new; echo in > /usr/local/new/file; ls /usr/local/bin")
    other = make_sandbox()
    other.mount_image("/kept", sandbox.snapshot_directory("/usr/local"))
    seen = shell(other, "cd /kept; find . -type f | sort; cat built given new/file")
    assert seen == "./built\n./given\n./new/file\nbuilt\ngivenin\n"


@pytest.mark.parametrize("path", ["/missing", "/etc/passwd"])
def test_what_is_no_folder_is_refused(make_sandbox, path):
    """A missing folder, or a file, is refused by its name."""
    with pytest.raises(modal.exception.Error, match=f"no folder '{path}'"):
        make_sandbox().snapshot_directory(path)


def test_a_snapshot_that_was_removed_is_not_mounted(make_sandbox, client):
    """It is not found, which is what a program waits for; where it is mounted it stays."""
    sandbox = make_sandbox()
    sandbox.filesystem.write_text("kept", "/work/file")
    image = sandbox.snapshot_directory("/work")
    sandbox.mount_image("/there", image)
    modal.experimental.image_delete(image.object_id, client=client)
    assert sandbox.filesystem.read_text("/there/file") == "kept"
    with pytest.raises(modal.exception.NotFoundError, match="is not here any more"):
        make_sandbox().mount_image("/there", image)


def test_the_root_is_refused(make_sandbox):
    """The whole file system has a call of its own."""
    with pytest.raises(modal.exception.InvalidError, match="snapshot_filesystem"):
        make_sandbox().snapshot_directory("/")


def test_a_snapshot_of_a_folder_outlives_the_plane(planes, tmp_path: Path):
    """Its image is found by its id after a restart."""
    make = (
        "import modal\n"
        "app = modal.App.lookup('folders', create_if_missing=True)\n"
        "sandbox = modal.Sandbox.create(app=app)\n"
    )
    keep = (
        "sandbox.filesystem.write_text('kept', '/work/file')\n"
        "print(sandbox.snapshot_directory('/work').object_id)\n"
    )
    started = planes(tmp_path / "state")
    done = started.python(make + keep)
    assert done.returncode == 0, done.stderr
    started.process.kill()
    started.process.wait()
    show = (
        f"sandbox.mount_image('/there', modal.Image.from_id({done.stdout.strip()!r}))\n"
        "print(sandbox.filesystem.read_text('/there/file'))\n"
    )
    again = planes(tmp_path / "state").python(make + show)
    assert again.stdout == "kept\n", again.stdout + again.stderr


@pytest.mark.parametrize("path", [sys.prefix, str(Path(sys.prefix).parent)])
def test_this_machines_python_is_not_hidden(make_sandbox, path):
    """A mount over the folder from which Python runs here is refused by its name."""
    with pytest.raises(modal.exception.Error, match="from which Python runs here"):
        make_sandbox().mount_image(path, modal.Image.from_scratch())


def test_no_mount_without_namespaces(local):
    """Where containers are plain processes it is refused, with what to do instead."""
    code = (
        "import modal\n"
        "app = modal.App.lookup('plain', create_if_missing=True)\n"
        "sandbox = modal.Sandbox.create(app=app)\n"
        "sandbox.mount_image('/there', modal.Image.from_scratch())\n"
    )
    done = local("--no-namespaces", sys.executable, "-c", code)
    assert done.returncode != 0
    assert "only where containers have namespaces" in done.stderr
