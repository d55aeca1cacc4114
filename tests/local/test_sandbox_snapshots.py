"""Sandboxes' files kept as images, through the real client."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import modal
import pytest

pytestmark = pytest.mark.usefixtures("namespaces")

LOCAL = (sys.executable, "-c", "from modalkit.cli import main; main()", "local")
TAKE = (
    "import modal\n"
    "app = modal.App.lookup('taking', create_if_missing=True)\n"
    "sandbox = modal.Sandbox.create(app=app)\n"
)


def shell(sandbox: modal.Sandbox, script: str) -> str:
    """Run a script in a sandbox and return what it prints."""
    process = sandbox.exec("sh", "-c", script)
    printed = process.stdout.read()
    assert process.wait() == 0, process.stderr.read()
    return printed


def test_a_snapshot_is_an_image_of_what_was_written(make_sandbox):
    """Another sandbox finds what was written anywhere, and the first one goes on undisturbed."""
    first = make_sandbox()
    places = ["/root/a", "/tmp/b/c", "/etc/kept.conf", "/new/d", "/e.txt"]
    shell(first, "mkdir -p /tmp/b /new; for p in " + " ".join(places) + "; do echo $p > $p; done")
    shell(first, "ln -s /root/a /opt/link; chmod 640 /root/a")
    image = first.snapshot_filesystem()
    shell(first, "echo later > /root/a")
    second = make_sandbox(image=image)
    assert shell(second, f"cat {' '.join(places)}").split() == places
    assert shell(second, "readlink /opt/link; stat -c %a /root/a") == "/root/a\n640\n"
    assert shell(first, "cat /root/a") == "later\n"


def test_a_snapshot_of_a_snapshot(make_sandbox):
    """What was removed or replaced after the first is gone in the second, and still in the first."""
    first = make_sandbox()
    shell(first, "mkdir -p /opt/kept /root/kept; touch /opt/kept/one /root/kept/one /opt/kept/two")
    one = first.snapshot_filesystem()
    second = make_sandbox(image=one)
    shell(second, "rm /opt/kept/one; rm -r /root/kept; mkdir /root/kept; touch /root/kept/three")
    third = make_sandbox(image=second.snapshot_filesystem())
    assert shell(third, "ls /opt/kept /root/kept") == "/opt/kept:\ntwo\n\n/root/kept:\nthree\n"
    assert shell(make_sandbox(image=one), "ls /opt/kept") == "one\ntwo\n"


def test_mounted_files_are_part_of_a_snapshot_and_volumes_are_not(
    make_sandbox, client, tmp_path: Path
):
    """It has the files of `add_local_*`, unless they were removed, and no volume's."""
    (tmp_path / "given").mkdir()
    for name in ("kept.txt", "gone.txt"):
        (tmp_path / "given" / name).write_text(name)
    image = (
        modal.Image.debian_slim()
        .add_local_dir(tmp_path / "given", "/root/given")
        .add_local_file(tmp_path / "given" / "kept.txt", "/opt/one.txt")
    )
    volume = modal.Volume.from_name("beside-a-snapshot", create_if_missing=True, client=client)
    first = make_sandbox(image=image, volumes={"/kept": volume})
    shell(first, "rm /root/given/gone.txt; touch /kept/inside")
    second = make_sandbox(image=first.snapshot_filesystem())
    assert shell(second, "ls /root/given; cat /opt/one.txt") == "kept.txt\nkept.txt"
    assert "inside" not in shell(second, "ls -R /kept || true")


def test_what_was_done_to_mounted_files_stays_done(make_sandbox, tmp_path: Path):
    """An emptied file stays empty, a changed one changed, in the snapshot and nowhere else."""
    given = tmp_path / "given"
    (given / "folder").mkdir(parents=True)
    for name in ("emptied.txt", "kept.txt", "folder/old.txt"):
        (given / name).write_text(name)
    image = modal.Image.debian_slim()
    for place in ("/root/given", "/opt/given"):
        image = image.add_local_dir(given, place)
    image = image.add_local_file(given / "kept.txt", "/opt/changed.txt")
    first = make_sandbox(image=image)
    shell(first, "echo changed > /opt/changed.txt")
    for place in ("/root/given", "/opt/given"):
        shell(first, f"cd {place}; : > emptied.txt; rm -r folder; mkdir folder; touch folder/new")
    second = make_sandbox(image=first.snapshot_filesystem())
    for place in ("/root/given", "/opt/given"):
        seen = shell(second, f"cd {place}; cat emptied.txt kept.txt; echo; ls folder")
        assert seen == "kept.txt\nnew\n"
    assert shell(second, "cat /opt/changed.txt") == "changed\n"
    assert shell(make_sandbox(image=image), "cat /opt/changed.txt") == "kept.txt"


def test_a_removed_snapshot_stays_below_those_taken_of_its_sandboxes(
    make_sandbox, client, plane, wait_until
):
    """Only the last of a row need be kept: with it, the files of those before it go."""
    images = plane.state / "images"
    one = make_sandbox()
    shell(one, "echo one > /root/one")
    first = one.snapshot_filesystem()
    two = make_sandbox(image=first)
    shell(two, "echo two > /root/two")
    second = two.snapshot_filesystem()
    modal.experimental.image_delete(first.object_id, client=client)
    assert shell(two, "cat /root/one /root/two") == "one\ntwo\n"
    with pytest.raises(modal.exception.NotFoundError, match="is not here any more"):
        make_sandbox(image=first)
    two.terminate()
    three = make_sandbox(image=second)
    assert shell(three, "cat /root/one /root/two") == "one\ntwo\n"
    modal.experimental.image_delete(second.object_id, client=client)
    assert shell(three, "cat /root/one /root/two") == "one\ntwo\n"
    three.terminate()
    gone = (images / first.object_id, images / second.object_id)
    wait_until(lambda: not any(folder.exists() for folder in gone), "the end of their files")


def test_a_sandbox_that_ends_meanwhile_is_kept_whole(make_sandbox, plane, wait_until):
    """Its files stay until the snapshot that was begun has all of them."""
    images = plane.state / "images"
    sandbox = make_sandbox()
    shell(sandbox, "mkdir /root/many; for n in $(seq 3000); do echo $n > /root/many/$n; done")
    before = {path.name for path in images.iterdir()}
    with ThreadPoolExecutor(1) as threads:
        taking = threads.submit(sandbox.snapshot_filesystem)
        wait_until(lambda: {path.name for path in images.iterdir()} - before, "its folder")
        sandbox.terminate()
        image = taking.result()
    assert shell(make_sandbox(image=image), "ls /root/many | wc -l").strip() == "3000"


def test_a_snapshot_is_a_base_like_any_image(plane):
    """Images are built on top of it, functions run in it, and it is found again by its id."""
    code = TAKE + (
        "sandbox.filesystem.write_text('from the sandbox', '/root/note.txt')\n"
        "image = sandbox.snapshot_filesystem()\n"
        "above = modal.Image.from_id(image.object_id).env({'AT': '/root/note.txt'})\n"
        "above = above.run_commands('tr a-z A-Z < $AT > /root/loud.txt')\n"
        "app = modal.App('above')\n"
        "read = lambda: [open(f'/root/{name}.txt').read() for name in ('note', 'loud')]\n"
        "function = app.function(image=above, serialized=True, name='read')(read)\n"
        "with app.run():\n"
        "    print(function.remote())\n"
    )
    done = plane.python(code)
    assert "['from the sandbox', 'FROM THE SANDBOX']" in done.stdout, done.stdout + done.stderr


def test_a_snapshot_outlives_the_plane_and_a_pruning(planes, tmp_path: Path):
    """It is there for the next local Modal, whatever is removed because nothing uses it."""
    first = planes(tmp_path / "state")
    code = TAKE + (
        "sandbox.filesystem.write_text('still here', '/root/note.txt')\n"
        "print(sandbox.snapshot_filesystem().object_id)\n"
    )
    taken = first.python(code)
    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert first.run(*LOCAL, "--state", str(first.state), "prune").returncode == 0
    first.process.terminate()
    first.process.wait(60)
    code = (
        "import modal\n"
        "app = modal.App.lookup('taking', create_if_missing=True)\n"
        f"image = modal.Image.from_id({taken.stdout.strip()!r})\n"
        "sandbox = modal.Sandbox.create(app=app, image=image)\n"
        "print(sandbox.filesystem.read_text('/root/note.txt'))\n"
    )
    again = planes(tmp_path / "state").python(code)
    assert again.stdout == "still here\n", again.stdout + again.stderr


def test_a_deleted_snapshot(make_sandbox, client):
    """It is gone for good: who uses it is told so; an image that is no snapshot is not deleted."""
    image = make_sandbox().snapshot_filesystem()
    modal.experimental.image_delete(image.object_id, client=client)
    with pytest.raises(
        modal.exception.NotFoundError, match=f"{image.object_id}.*is not here any more"
    ):
        make_sandbox(image=image)
    built = modal.Image.debian_slim().env({"A": "b"})
    make_sandbox(image=built)
    with pytest.raises(modal.exception.Error, match=r"no snapshot.*modalkit local prune"):
        modal.experimental.image_delete(built.object_id, client=client)


def test_what_changed_in_a_folder_that_is_shown(local, tmp_path: Path):
    """A folder of this machine below `/tmp` that containers see is kept with its changes."""
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "old.txt").write_text("old")
    code = TAKE + (
        f"sandbox.exec('sh', '-c', 'echo new > {shown}/new.txt').wait()\n"
        "image = sandbox.snapshot_filesystem()\n"
        "again = modal.Sandbox.create(app=app, image=image)\n"
        f"print(again.exec('ls', '{shown}').stdout.read().split())\n"
    )
    done = local("-q", "python", "-c", code, MODALKIT_LOCAL_SHOW=str(shown))
    assert done.stdout == "['new.txt', 'old.txt']\n", done.stdout + done.stderr
    assert [path.name for path in shown.iterdir()] == ["old.txt"]


def test_no_snapshot_without_namespaces(local):
    """Where containers are plain processes it is refused, with what to do instead."""
    done = local("--no-namespaces", "python", "-c", TAKE + "sandbox.snapshot_filesystem()")
    assert done.returncode != 0
    assert "only where containers have namespaces" in done.stderr
