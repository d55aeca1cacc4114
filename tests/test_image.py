from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import modal
import pytest
from packaging.requirements import Requirement

from modalkit.declare.gpu import GPUProfile
from modalkit.declare.image import ImageSpec
from modalkit.declare.image.bases import PYTHON_VERSIONS
from modalkit.declare.image.spec import RUNTIME_REQUIREMENTS
from modalkit.declare.secrets import Secret
from modalkit.errors import DeclarationError


class Recorder:
    """Notes the calls made on a modal.Image, held to the signatures of the installed one."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple, dict]] = []

    def __getattr__(self, name: str):
        signature = inspect.signature(getattr(modal.Image, name))

        def call(*args, **options):
            signature.bind(self, *args, **options)
            self.calls.append((name, args, options))
            return self

        return call


def built(spec: ImageSpec) -> list[tuple[str, tuple, dict]]:
    """What a spec asks of modal.Image, in the order it is built."""
    recorder = Recorder()
    for layer in spec.ordered:
        layer.add_to(recorder)
    return recorder.calls


def refused(make) -> str:
    with pytest.raises(DeclarationError) as raised:
        make()
    return str(raised.value)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with one of every file a spec can name, as the current directory."""
    (tmp_path / "requirements.txt").write_text("numpy==2.3.0\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["numpy"]\n')
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (tmp_path / "Dockerfile").write_text("FROM python:3.12-slim\n")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_spec_never_changes():
    """Every method returns a new value and leaves the old one as it was."""
    base = ImageSpec()
    one = base.pip("numpy==2.3.0")
    assert base.layers == ()
    assert one.apt("git") != one
    assert one == ImageSpec().pip("numpy==2.3.0")


def test_each_step_asks_modal_for_what_was_said():
    """Every step becomes one call of modal.Image with the arguments declared."""
    spec = (
        ImageSpec()
        .apt("git", "ffmpeg")
        .pip("numpy==2.3.0", extra_index_url="https://example.com/simple")
        .uv("torch==2.13.0", index_url="https://example.com/whl", pre=True)
        .env({"A": "1"}, B="two words")
        .workdir("/app")
        .run("make", "make install")
        .requirements("requirements.txt")
        .pyproject("pyproject.toml", extras=["serve"])
        .uv_lock("service", groups=["gpu"], extras=["serve"], frozen=False)
        .local_dir("assets", "/assets", ignore=["*.tmp"])
        .local_file("a.json", "/config/", copy=True)
        .local_python("mypackage", "other.module")
    )
    index = {"index_url": None, "extra_index_url": None, "pre": False}
    assert built(spec) == [
        ("apt_install", ("git", "ffmpeg"), {}),
        (
            "pip_install",
            ("numpy==2.3.0",),
            index | {"extra_index_url": "https://example.com/simple"},
        ),
        (
            "uv_pip_install",
            ("torch==2.13.0",),
            index | {"index_url": "https://example.com/whl", "pre": True},
        ),
        ("env", ({"A": "1", "B": "two words"},), {}),
        ("workdir", ("/app",), {}),
        ("run_commands", ("make", "make install"), {"secrets": [], "gpu": None}),
        ("pip_install_from_requirements", ("requirements.txt",), {}),
        ("pip_install_from_pyproject", ("pyproject.toml", ["serve"]), {}),
        ("uv_sync", ("service",), {"groups": ["gpu"], "extras": ["serve"], "frozen": False}),
        ("add_local_file", (Path("a.json"), "/config/a.json"), {"copy": True}),
        ("add_local_dir", ("assets", "/assets"), {"copy": False, "ignore": ["*.tmp"]}),
        ("add_local_python_source", ("mypackage", "other.module"), {"copy": False}),
    ]


def test_commands_get_their_secrets_and_gpu():
    """A build step has the Secrets and the GPU it names, and only names reach Modal."""
    spec = ImageSpec().run("pip install x", secrets=[Secret("index")], gpu=GPUProfile("H100:2"))
    ((name, commands, options),) = built(spec)
    assert (name, commands, options["gpu"]) == ("run_commands", ("pip install x",), "H100:2")
    assert [secret.name for secret in options["secrets"]] == ["index"]


def test_modal_takes_every_kind(project):
    """Every base and step compiles to a modal.Image that a function accepts, with no network."""
    everything = (
        ImageSpec()
        .local_dir("assets", "/assets")
        .local_python("modalkit")
        .apt("git")
        .requirements("requirements.txt")
        .pyproject("pyproject.toml")
        .uv_lock()
        .env(A="1")
        .run("true")
        .workdir("/app")
        .pip("numpy==2.3.0")
        .uv("torch")
        .local_file("requirements.txt", "/data/", copy=True)
    )
    specs = [
        everything,
        ImageSpec.registry("nvidia/cuda:13.0.1", add_python="3.12", secret=Secret("registry")),
        ImageSpec.registry("python:3.12-slim", clear_entrypoint=False),
        ImageSpec.dockerfile("Dockerfile", context_dir="assets", build_args={"A": "b"}),
        ImageSpec.engine().pip("numpy==2.3.0").on(ImageSpec("3.13")),
    ]
    app = modal.App()
    for number, spec in enumerate(specs):
        image = spec.to_modal()
        assert isinstance(image, modal.Image)
        app.function(image=image, serialized=True, name=f"f{number}")(lambda: None)


def test_supported_pythons_are_modals():
    """The versions we accept are those of the newest image builder of the installed modal."""
    from modal._image import LATEST_IMAGE_BUILDER_VERSION, SUPPORTED_PYTHON_SERIES

    offered = SUPPORTED_PYTHON_SERIES[LATEST_IMAGE_BUILDER_VERSION]
    assert list(PYTHON_VERSIONS) == [series for series in offered if not series.endswith("t")]


def test_the_engine_stands_for_another_base():
    """Steps on ImageSpec.engine() go on top of the spec they are put on, and override its pins."""
    engine = ImageSpec.registry("lmsysorg/sglang:v0.5.23").pip("transformers==5.19.0")
    spec = ImageSpec.engine().pip("transformers==5.20.0").apt("git")
    assert spec.extends_engine
    resolved = spec.on(engine)
    assert resolved.base == engine.base
    assert resolved.layers == (*engine.layers, *spec.layers)
    assert not resolved.extends_engine
    assert ImageSpec.model_validate_json(resolved.model_dump_json()) == resolved


def test_an_engine_base_alone_is_no_image():
    """An unresolved engine base does not compile, and says how to resolve it."""
    assert "is not chosen yet" in refused(ImageSpec.engine().to_modal)
    assert "Begin it with ImageSpec.engine()." in refused(lambda: ImageSpec().on(ImageSpec()))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ImageSpec("3.7"), "Write one of 3.11, 3.12, 3.13, 3.14 or 3.15."),
        (lambda: ImageSpec("3"), "Write one of 3.11"),
        (lambda: ImageSpec(3.12), "must be a string, got 3.12. Write '3.12' with quotes"),
        (lambda: ImageSpec("3.12", base=ImageSpec().base), "says two bases"),
        (lambda: ImageSpec.registry("x", add_python="3.12.1"), "Write '3.12'"),
        (lambda: ImageSpec.registry("x", add_python="2.7"), "ImageSpec.registry.add_python '2.7'"),
        (lambda: ImageSpec.registry(""), "is not an image reference"),
        (lambda: ImageSpec.registry("https://docker.io/Foo/Bar:1"), "'docker.io/foo/bar:1'"),
        (lambda: ImageSpec.registry("python :3"), "Write one such as 'python:3'"),
        (lambda: ImageSpec.registry("NVIDIA/cuda:13"), "Write one such as 'nvidia/cuda:13'"),
        (lambda: ImageSpec.dockerfile(""), "names no file"),
        (lambda: ImageSpec().pip(), "ImageSpec.pip has nothing in it"),
        (lambda: ImageSpec().uv(["a", "b"]), "ImageSpec.uv.requirements.0"),
        (lambda: ImageSpec().apt(), "ImageSpec.apt has nothing in it"),
        (lambda: ImageSpec().apt("git ffmpeg"), "apt('git', 'ffmpeg')"),
        (lambda: ImageSpec().apt("-y"), "is not one package"),
        (lambda: ImageSpec().env(), "ImageSpec.env has nothing in it"),
        (lambda: ImageSpec().env({"A-B": "1"}), "is not the name of an environment variable"),
        (lambda: ImageSpec().env(A=1), "ImageSpec.env['A'] must be a string, got int."),
        (lambda: ImageSpec().env(A="a\nb"), "has a line break"),
        (lambda: ImageSpec().run(), "ImageSpec.run has nothing in it"),
        (lambda: ImageSpec().run("a", " "), "ImageSpec.run[1] has nothing in it"),
        (lambda: ImageSpec().run("a", gpu="H1OO"), "Did you mean 'H100'?"),
        (lambda: ImageSpec().run("a", secrets=["x"]), "must be Secret(...), got str."),
        (lambda: ImageSpec().workdir("app"), "Write '/app'"),
        (lambda: ImageSpec().requirements(""), "such as 'requirements.txt'"),
        (lambda: ImageSpec().pyproject(" "), "such as 'pyproject.toml'"),
        (lambda: ImageSpec().uv_lock(""), "such as '.'"),
        (lambda: ImageSpec().local_dir("", "/x"), "ImageSpec.local_dir has nothing in it"),
        (lambda: ImageSpec().local_dir("assets", "assets"), "Write '/assets'"),
        (lambda: ImageSpec().local_dir("assets", "/a/../b"), "Write '/a/b'"),
        (lambda: ImageSpec().local_file("a.json", "config/"), "Write '/config/a.json'"),
        (lambda: ImageSpec().local_python(), "ImageSpec.local_python has nothing in it"),
        (lambda: ImageSpec().local_python("src/mine.py"), "Write 'src.mine'."),
    ],
)
def test_impossible_images_are_refused(make, told):
    """What no build can do is refused where it is written, with what to write instead."""
    assert told in refused(make)


KEY = "hf_" + "aBcDeFgHiJkLmNoPqRsT"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImageSpec().env(HF_TOKEN=KEY),
        lambda: ImageSpec().env({"DB_PASSWORD": KEY}),
        lambda: ImageSpec().env(ANYTHING=KEY),
        lambda: ImageSpec().env({"X": KEY.encode()}),
        lambda: ImageSpec().run(f"curl -H 'Authorization: Bearer {KEY}' https://x.example"),
        lambda: ImageSpec().run("true", secrets=[KEY]),
        lambda: ImageSpec().pip("x", index_url=f"https://me:{KEY}@example.com/simple"),
        lambda: ImageSpec().pip(f"x @ git+https://{KEY}@github.com/a/x.git@main"),
        lambda: ImageSpec().pip(f"git+https://me:{KEY}@github.com/a/x.git@main"),
        lambda: ImageSpec().pip(f"--index-url=https://me:{KEY}@example.com/simple"),
        lambda: ImageSpec.registry("x", secret=KEY),
        lambda: ImageSpec.dockerfile("Dockerfile", build_args={"TOKEN": KEY}),
    ],
)
def test_secrets_do_not_enter_an_image_or_an_error(make):
    """A secret's value is refused wherever it is written, and the error does not repeat it."""
    assert KEY not in refused(make)


@pytest.mark.parametrize("value", ["", "/cache", "1", "0123456789abcdef0123456789abcdef01234567"])
def test_ordinary_variables_are_fine(value):
    """Paths, switches, commits and an empty token are not secrets."""
    name = "HF_TOKEN" if not value else "MODEL_REVISION"
    assert ImageSpec().env({name: value}).layers[0].variables == ((name, value),)


def test_modalkit_comes_along_on_request():
    """Its packages are installed first, pinned; its source is mounted last."""
    spec = ImageSpec().apt("git").with_modalkit()
    first, *_, last = spec.layers
    assert first.kind == "uv"
    assert spec.pinned
    assert (last.kind, last.modules, last.built_in) == ("local_python", ("modalkit",), False)
    assert built(spec)[-1][0] == "add_local_python_source"


def test_modalkit_needs_no_more_than_it_brings():
    """Every package the declarations import at the top is installed with them in a container."""
    brought = {Requirement(text).name for text in RUNTIME_REQUIREMENTS}
    code = (
        "import sys; before = set(sys.modules)\n"
        "from modalkit import Cron, Endpoint, ImageSpec, WeightCache\n"
        "ImageSpec().pip('x==1'); Endpoint(); Cron('0 6 * * *'); WeightCache('a').env\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    owners = packages_distributions()
    used = {owner for name in done.stdout.split() for owner in owners.get(name, ())}
    with_pydantic = {"annotated-types", "pydantic_core", "typing-inspection", "typing_extensions"}
    assert used - with_pydantic - {"modalkit"} <= brought
    assert "packaging" in used


def test_declaring_looks_at_no_file():
    """A spec may name files that are not there yet; only compiling looks."""
    spec = ImageSpec().requirements("nowhere.txt").local_dir("nowhere", "/x")
    assert len(spec.layers) == 2


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (ImageSpec().requirements("no.txt"), "needs the file 'no.txt', which does not exist in"),
        (ImageSpec().pyproject("no.toml"), "needs the file 'no.toml'"),
        (ImageSpec().uv_lock("assets"), "needs the file 'assets/pyproject.toml'"),
        (ImageSpec().local_dir("no", "/x"), "needs the folder 'no', which does not exist"),
        (ImageSpec().local_dir("Dockerfile", "/x"), "'Dockerfile', which is not a folder"),
        (ImageSpec().local_file("assets", "/x"), "'assets', which is not a file"),
        (ImageSpec.dockerfile("No"), "needs the file 'No'"),
        (ImageSpec.dockerfile("Dockerfile", context_dir="no"), "needs the folder 'no'"),
    ],
)
def test_a_missing_file_is_named_with_the_current_directory(project, spec, told):
    """Compiling on this machine names the missing file and where it was looked for."""
    message = refused(spec.to_modal)
    assert told in message
    assert str(project) in message


def test_a_lock_that_may_change_need_not_exist(project):
    """Without frozen, uv resolves in the build; with it, the lock must be there."""
    (project / "uv.lock").unlink()
    assert isinstance(ImageSpec().uv_lock(frozen=False).to_modal(), modal.Image)
    assert "needs the file 'uv.lock'" in refused(ImageSpec().uv_lock().to_modal)


def test_a_second_requirements_file_is_refused_before_the_build(project):
    """Modal copies one requirements file to the build, so an include would fail there."""
    (project / "requirements.txt").write_text("# ours\n-r base.txt\nnumpy==2.3.0\n")
    message = refused(ImageSpec().requirements("requirements.txt").to_modal)
    assert "requirements.txt, line 2: '-r base.txt' needs a second file" in message
    assert "Add .requirements('base.txt') as a step" in message


@pytest.mark.parametrize(
    "tag",
    [
        "python",
        "python:3.12-slim",
        "nvcr.io/nvidia/pytorch:26.10-py3",
        "localhost/mine",
        "registry:5000/team/mine:v1",
        "ghcr.io/a_b/c__d/e-f:1.0",
    ],
)
def test_image_references_are_accepted(tag):
    """Every usual form of a registry reference is accepted."""
    assert ImageSpec.registry(tag).unpinned == (tag,)


def test_home_folders_are_understood(project):
    """A path that begins with ~ is looked up in the home folder and handed to Modal so."""
    [(_, (source, _), _)] = built(ImageSpec().local_file("~/a.json", "/a.json"))
    assert source == Path.home() / "a.json"
    code = (
        "from modalkit.declare.image import ImageSpec;"
        "ImageSpec().requirements('~/requirements.txt').to_modal(); print('found')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd="/",
        env={**os.environ, "HOME": str(project)},
    )  # fmt: skip
    assert done.stdout.strip() == "found"
