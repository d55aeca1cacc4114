"""Images built for real, through the real client."""

from __future__ import annotations

import importlib.metadata
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import modal
import modal.exception
import pytest
from modal._vendor import cloudpickle

COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
PATIENCE_S = 120  # a deadline against hangs, never a measurement


@pytest.fixture
def call(client):
    """Run a function that returns something once, in an image: ``call(image, function)``."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])

    def once(image: modal.Image, function, **options):
        app = modal.App()
        remote = app.function(image=image, serialized=True, **options)(function)
        with app.run(client=client):
            return remote.remote()

    return once


@pytest.fixture
def offline(make_wheel):
    """What makes `pip_install` find the test's own wheels, and nothing else."""

    def options(*wheels: tuple[str, ...]) -> dict[str, str]:
        folders = {str(make_wheel(*wheel)) for wheel in wheels}
        return {"find_links": folders.pop(), "extra_options": "--no-index"}

    return options


def look():
    """What a container sees of the test's package and of this machine's."""
    import httpx
    import small

    return small.version, small.__file__, httpx.__name__, sys.executable


def test_a_package_is_installed_beside_this_machines(call, offline):
    """An image's package can be imported, and so can what this machine has."""
    image = modal.Image.debian_slim().pip_install("small", **offline(("small", "1.0")))
    version, place, httpx, python = call(image, look)
    assert (version, httpx) == ("1.0", "httpx")
    assert "/images/im-" in place
    assert "/images/im-" in python


@pytest.mark.parametrize("method", ["pip_install", "uv_pip_install"])
def test_a_later_layer_wins(call, offline, method):
    """A version installed later hides the one below; a command sees the same Python."""
    options = offline(("small", "1.0"), ("small", "2.0"), ("other", "3", "small>=2"))
    image = modal.Image.debian_slim().pip_install("small==1.0", **options)
    image = getattr(image, method)("other", **options)

    def seen():
        import importlib.metadata
        import subprocess

        code = "import small, other; print(small.version, other.version)"
        said = subprocess.check_output(["python", "-c", code], text=True)
        return said.split(), importlib.metadata.version("small")

    assert call(image, seen) == (["2.0", "3"], "2.0")


def test_a_requirements_file_and_a_project(call, offline, tmp_path):
    """`pip_install_from_requirements` and `pip_install_from_pyproject` install what files name."""
    options = offline(("small", "1.0"), ("other", "3"))
    (tmp_path / "needed.txt").write_text("small==1.0  # why\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname="p"\ndependencies=["other"]\n')
    image = (
        modal.Image.debian_slim()
        .pip_install_from_requirements(str(tmp_path / "needed.txt"), **options)
        .pip_install_from_pyproject(str(tmp_path / "pyproject.toml"), **options)
    )

    def seen():
        import other
        import small

        return small.version, other.version

    assert call(image, seen) == ("1.0", "3")


def test_a_uv_project_is_synced(call, tmp_path):
    """`uv_sync` takes a project's dependencies; what this machine has in the lock's version stays."""
    version = importlib.metadata.version("httpx")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "0"\ndependencies = ["httpx"]\n'
    )
    (tmp_path / "uv.lock").write_text(
        f'version = 1\n[[package]]\nname = "httpx"\nversion = "{version}"\n'
        'source = { registry = "https://none.invalid/simple" }\n'
    )

    def seen():
        import httpx

        return httpx.__version__

    assert call(modal.Image.debian_slim().uv_sync(str(tmp_path)), seen) == version


def test_commands_of_a_package_are_on_the_path(call, offline):
    """The command a package brings runs with the image's packages."""
    options = offline(("small", "1.0", "other"), ("other", "3"))
    make = offline(("tool", "5"))
    image = modal.Image.debian_slim().pip_install("tool", "small", **{**options, **make})

    def seen():
        import shutil
        import subprocess

        found = shutil.which("pytest") or ""
        said = subprocess.check_output(["python", "-m", "pip", "--version"], text=True)
        return found, said

    found, said = call(image, seen)
    assert "/images/im-" in found
    assert said.startswith("pip ")


def test_what_is_here_is_not_installed_again(call, plane):
    """An image that asks for what this machine has runs on this machine's Python, as it is."""
    image = modal.Image.debian_slim().pip_install("httpx>=0.1", "packaging")

    def seen():
        return sys.executable, os.environ.get("VIRTUAL_ENV", "")

    python, environment = call(image, seen)
    assert Path(python).samefile(sys.executable)
    assert "/images/" not in environment


def test_an_engine_for_gpus_is_not_fetched(call, namespaces):
    """A pinned GPU engine that is not here is named, and the rest of the image goes on."""
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    image = modal.Image.debian_slim().pip_install("vllm==0.0.1", "packaging")
    assert call(image, lambda: "ran") == "ran"


def test_commands_change_the_image(call, namespaces):
    """RUN commands see the image so far; what they write and remove is the image's."""
    image = (
        modal.Image.debian_slim()
        .env({"WORD": "hello"})
        .workdir("/work/here")
        .run_commands("echo $WORD > said", "cp said /opt/said && rm -f /etc/hostname")
        .run_commands("cat /work/here/said /opt/said > /both", "test ! -e /etc/hostname")
    )

    def seen():
        changed = Path("/both").read_text()
        Path("/opt/said").write_text("changed in a container")
        return changed, Path("said").read_text(), Path("/etc/hostname").exists()

    before = Path("/etc/hostname").exists()
    for _ in range(2):
        assert call(image, seen) == ("hello\nhello\n", "hello\n", False)
    assert Path("/etc/hostname").exists() == before
    assert not Path("/both").exists()


def test_copied_files_are_there_for_commands(call, namespaces, tmp_path):
    """Files copied into the image can be used by the next step; a container may change its own."""
    (tmp_path / "note.txt").write_text("a note")
    image = (
        modal.Image.debian_slim()
        .add_local_file(tmp_path / "note.txt", "/opt/note.txt", copy=True)
        .run_commands("tr a-z A-Z < /opt/note.txt > /opt/loud.txt")
    )

    def seen():
        Path("/opt/note.txt").write_text("mine")
        return Path("/opt/loud.txt").read_text(), Path("/opt/note.txt").read_text()

    assert call(image, seen) == ("A NOTE", "mine")
    assert call(image, seen) == ("A NOTE", "mine")


def test_a_build_function_changes_the_image(plane, namespaces):
    """`run_function` runs once, with arguments, secrets and volumes; its files are the image's."""
    first, second = (plane.modal("run", "building.py") for _ in range(2))
    for done in (first, second):
        assert "['ww-secret', 'cached', 'kept']" in done.stdout, done.stdout + done.stderr
    assert "fetching the weights" in first.stdout
    assert "fetching the weights" not in second.stdout


def test_a_failing_build_function_fails_the_build(plane, namespaces):
    """An error in `run_function` is told to the client."""
    done = plane.modal("run", "building.py", TEST_FAIL="1")
    assert done.returncode != 0
    assert "no weights today" in done.stdout + done.stderr


def test_a_build_command_reads_and_writes_a_volume(call, client, namespaces):
    """`run_commands(volumes=)` sees what is committed and commits what it wrote, unless it fails."""
    volume = modal.Volume.from_name("for-building", create_if_missing=True, client=client)
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"from before"), "/given.txt")
    write = ["cp /vol/given.txt /opt/copied.txt", "echo from the build > /vol/made.txt"]
    base = modal.Image.debian_slim()
    image = base.run_commands(*write, volumes={"/vol": volume})

    def seen():
        return Path("/opt/copied.txt").read_text(), Path("/vol/made.txt").exists()

    assert call(image, seen) == ("from before", False)
    assert b"".join(volume.read_file("made.txt")) == b"from the build\n"
    failing = base.run_commands("echo half > /vol/half.txt; exit 4", volumes={"/vol": volume})
    with pytest.raises(modal.exception.ImageBuildError, match="exit code 4"):
        call(failing, seen)
    assert "half.txt" not in [entry.path for entry in volume.listdir("/")]


def test_a_failing_command_fails_the_build(call, namespaces, capfd):
    """The client shows what a command printed, and raises with its exit code."""
    image = modal.Image.debian_slim().run_commands("echo before it fails", "exit 3")
    with modal.enable_output(), pytest.raises(modal.exception.ImageBuildError, match="exit code 3"):
        call(image, look)
    assert "before it fails" in capfd.readouterr().out


def test_a_failing_command_names_what_the_image_lacks(call, namespaces):
    """Who sees a command fail also sees which parts of the image this machine does not have."""
    image = modal.Image.debian_slim().apt_install("no-such-package").run_commands("exit 5")
    with pytest.raises(modal.exception.ImageBuildError, match=r"code 5.*apt.*no-such-package"):
        call(image, look)


def test_a_package_that_does_not_exist_fails_the_build(call, offline):
    """The last lines of the installer are in the error."""
    image = modal.Image.debian_slim().pip_install("nosuch-thing", **offline(("small", "1.0")))
    with pytest.raises(modal.exception.ImageBuildError, match=r"(?s)nosuch-thing.*(found|match)"):
        call(image, look)


def test_a_secret_is_there_for_a_command_and_not_in_its_log(call, namespaces, capfd):
    """A build command gets secrets; the log does not show their values."""
    secret = modal.Secret.from_dict({"TOKEN": "very-secret-value"})
    image = modal.Image.debian_slim().run_commands(
        "echo token is $TOKEN", "test $TOKEN = very-secret-value", secrets=[secret]
    )
    with modal.enable_output():
        assert call(image, lambda: os.environ.get("TOKEN")) is None
    said = capfd.readouterr().out
    assert "token is ***" in said
    assert "very-secret-value" not in said


def test_an_image_by_its_id(call, client, offline):
    """`Image.build` makes an image ahead, and `Image.from_id` finds it."""
    image = modal.Image.debian_slim().pip_install("small", **offline(("small", "1.0")))
    with modal.App().run(client=client) as app:
        image.build(app)
    found = modal.Image.from_id(image.object_id, client=client)
    assert call(found, look)[0] == "1.0"


def test_a_change_late_in_the_chain_builds_from_there(call, client, namespaces, capfd):
    """An image with another last step keeps the builds below it; the same one is not built."""

    def built(last: str) -> str:
        image = modal.Image.debian_slim().run_commands("echo the first").run_commands(last)
        with modal.enable_output(), modal.App().run(client=client) as app:
            image.build(app)
        return capfd.readouterr().out

    first = built("echo one")
    assert "the first" in first
    assert "RUN echo one" in first
    second = built("echo another")
    assert "the first" not in second
    assert "RUN echo another" in second
    assert "RUN" not in built("echo one")


def test_force_build_builds_again(client, namespaces, capfd):
    """`force_build` carries out the steps again, and later requests get that build."""
    for force, ran in ((False, True), (False, False), (True, True), (False, False)):
        image = modal.Image.debian_slim().run_commands("echo forced", force_build=force)
        with modal.enable_output(), modal.App().run(client=client) as app:
            image.build(app)
        assert ("RUN echo forced" in capfd.readouterr().out) is ran


@contextmanager
def started(state: Path, file: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run an app in a local Modal of its own on a state folder; killed if it is still there."""
    process = subprocess.Popen(
        [*COMMAND, "--state", str(state), *options, "modal", "run", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


SLOW = """
import modal
image = modal.Image.debian_slim().run_commands("echo BUILDING; sleep 2; date +%N > /made")
app = modal.App("slow", image=image)

@app.function()
def made() -> str:
    return open("/made").read()

@app.local_entrypoint()
def main() -> None:
    print("made:", made.remote())
"""


@pytest.fixture
def slow_app(tmp_path, namespaces) -> Path:
    """An app whose image takes two seconds to build."""
    path = tmp_path / "slow.py"
    path.write_text(SLOW)
    return path


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder that several planes share."""
    with tempfile.TemporaryDirectory(prefix="mk-test-") as folder:
        yield Path(folder)


def test_two_commands_build_an_image_once(slow_app, state):
    """Whoever comes second waits for the build under way, and gets the same."""
    with started(state, slow_app) as one, started(state, slow_app) as two:
        said = [process.communicate(timeout=PATIENCE_S)[0] for process in (one, two)]
    made = {line for text in said for line in text.splitlines() if line.startswith("made: ")}
    assert len(made) == 1, said


def test_a_build_that_was_killed_is_made_anew(slow_app, state, processes):
    """Half a build is never taken for a whole one, whenever the plane dies."""
    with started(state, slow_app) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("BUILDING"):
                break
        below = processes.below(process.pid)
        process.kill()
    assert below
    with started(state, slow_app) as process:
        said, _ = process.communicate(timeout=PATIENCE_S)
    assert "BUILDING" in said
    assert "made: " in said


def test_strict_images_refuse_what_is_lacking(tmp_path, state):
    """With --strict-images an apt package that is not here fails the build, by name."""
    app = tmp_path / "strict.py"
    app.write_text(SLOW.replace("run_commands(", "apt_install('no-such-package').run_commands("))
    with started(state, app, "--strict-images") as process:
        said, _ = process.communicate(timeout=PATIENCE_S)
    assert "apt packages no-such-package" in " ".join(said.split())
    assert "made:" not in said


def test_without_namespaces_commands_are_named(tmp_path, state):
    """Packages are installed without namespaces too; commands are named and left out."""
    app = tmp_path / "plain.py"
    app.write_text(SLOW.replace('open("/made").read()', '"nothing"'))
    with started(state, app, "--no-namespaces") as process:
        said, _ = process.communicate(timeout=PATIENCE_S)
    assert "needs namespaces" in " ".join(said.split())
    assert "made: nothing" in said


@pytest.mark.skipif(not os.access("/var", os.W_OK), reason="needs a folder outside /tmp")
def test_layers_may_lie_in_a_folder_they_change(slow_app):
    """An image may change the very folder that the state folder is in."""
    with tempfile.TemporaryDirectory(prefix="mk-test-", dir="/var") as folder:
        near = Path(folder, "near")
        near.mkdir()
        text = SLOW.replace("/made", f"{near}/made").replace(
            "echo BUILDING", f"mkdir -p {near}/new/deep; cp /etc/passwd {near}/new/deep/"
        )
        last = f'.run_commands("test -s {near}/made; cat {near}/new/deep/passwd > {near}/again")'
        slow_app.write_text(text.replace('made")\napp', f'made"){last}\napp'))
        for _ in range(2):
            with started(Path(folder, "state"), slow_app) as process:
                said, _ = process.communicate(timeout=PATIENCE_S)
            assert "made: " in said
        assert list(near.iterdir()) == []
