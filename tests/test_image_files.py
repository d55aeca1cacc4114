"""What files install in an image, held to the tested set of the engine below them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modalkit import VLLM, ImageSpec, SGLang
from modalkit.declare.image.installed_files import in_pyproject, in_requirements, in_uv_lock
from modalkit.engines.sets import engine_set
from modalkit.errors import DeclarationError

TORCH = engine_set("sglang").torch
PROJECT = """
[project]
name = "app"
version = "1"
dependencies = [
    "numpy>=2",
    "{torch}",
    "torch==1.0; sys_platform == 'darwin'",
]

[project.optional-dependencies]
old = ["transformers==4.0.0"]
"""
LOCK = """version = 1
requires-python = ">=3.11"

[[package]]
name = "app"
version = "1"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "wraps" }},
    {{ name = "on-a-mac", marker = "sys_platform == 'darwin'" }},
]

[package.optional-dependencies]
extra = [{{ name = "openai" }}]

[package.dev-dependencies]
lint = [{{ name = "transformers" }}]

[[package]]
name = "openai"
version = "1.0.0"
source = {{ registry = "index" }}

[[package]]
name = "on-a-mac"
version = "1"
dependencies = [{{ name = "transformers" }}]

[[package]]
name = "torch"
version = "{torch}"
source = {{ registry = "index" }}

[[package]]
name = "transformers"
version = "4.0.0"
source = {{ registry = "index" }}

[[package]]
name = "wraps"
version = "3"
dependencies = [{{ name = "torch" }}]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty current folder, since messages name files as the declaration does."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(image: ImageSpec) -> str:
    """What compiling the image on SGLang's says."""
    with pytest.raises(DeclarationError) as raised:
        image.on(SGLang().image()).to_modal()
    return str(raised.value)


def passes(image: ImageSpec) -> None:
    image.on(SGLang().image()).to_modal()


def test_a_requirements_file_is_held_to_the_set(folder):
    """File, line and package are named; the tested release itself passes, whatever build of it."""
    file = folder / "requirements.txt"
    file.write_text("# ours\nnumpy\ntorch==2.13.0 --hash=sha256:00\n")
    image = ImageSpec.engine().requirements("requirements.txt")
    said = told(image)
    assert said.startswith(
        f"requirements.txt, line 3: 'torch==2.13.0' contradicts 'torch=={TORCH}'"
    )
    assert "of SGLang" in said
    file.write_text(f"numpy\ntorch=={TORCH}+cu130\ntorch==2.13.0; sys_platform == 'win32'\n")
    passes(image)
    ImageSpec().requirements("requirements.txt").to_modal()


def test_every_contradiction_of_a_file_is_told_at_once(folder):
    """Two lines that contradict the set are two lines of one error."""
    (folder / "r.txt").write_text("torch==2.13.0\ntransformers==4.0.0\n")
    said = told(ImageSpec.engine().requirements("r.txt"))
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "r.txt, line 1",
        "r.txt, line 2",
    ]


def test_a_pyproject_is_held_to_the_set(folder):
    """Its dependencies count, and those of the extras that are asked for; not those of a Mac."""
    file = folder / "pyproject.toml"
    file.write_text(PROJECT.format(torch="torch==2.13.0"))
    assert told(ImageSpec.engine().pyproject("pyproject.toml")).startswith(
        "pyproject.toml, line 7: 'torch==2.13.0' contradicts"
    )
    file.write_text(PROJECT.format(torch=f"torch=={TORCH}"))
    passes(ImageSpec.engine().pyproject("pyproject.toml"))
    said = told(ImageSpec.engine().pyproject("pyproject.toml", extras=["old"]))
    assert said.startswith("pyproject.toml, line 12: 'transformers==4.0.0' contradicts")


def test_a_uv_lock_is_held_to_the_set(folder):
    """What the project needs counts, however far down; groups and extras where they are asked for."""
    (folder / "pyproject.toml").write_text("[project]\nname = 'app'\nversion = '1'\n")
    lock = folder / "uv.lock"
    lock.write_text(LOCK.format(torch="2.13.0"))
    said = told(ImageSpec.engine().uv_lock())
    number = LOCK.format(torch="2.13.0").splitlines().index('version = "2.13.0"') + 1
    assert said.startswith(f"uv.lock, line {number}: 'torch==2.13.0' contradicts")
    assert len(said.splitlines()) == 1
    lock.write_text(LOCK.format(torch=TORCH))
    passes(ImageSpec.engine().uv_lock())
    assert "'transformers==4.0.0'" in told(ImageSpec.engine().uv_lock(groups=["lint"]))
    assert "'openai==1.0.0'" in told(ImageSpec.engine().uv_lock(extras=["extra"]))
    passes(ImageSpec.engine().uv_lock(groups=["lint"], frozen=False))


def test_the_group_that_uv_installs_by_default_counts(folder):
    """The group "dev" is installed unless the project names others."""
    (folder / "uv.lock").write_text(LOCK.format(torch=TORCH).replace("lint =", "dev ="))
    project = folder / "pyproject.toml"
    project.write_text("[project]\nname = 'app'\nversion = '1'\n")
    assert "'transformers==4.0.0'" in told(ImageSpec.engine().uv_lock())
    project.write_text("[tool.uv]\ndefault-groups = []\n")
    passes(ImageSpec.engine().uv_lock())


def test_a_conditional_line_counts_where_it_always_holds(tmp_path):
    """A condition on Linux counts; one that only some Python meets decides nothing."""
    file = tmp_path / "r.txt"
    file.write_text(
        "a==1; sys_platform == 'linux'\nb==1; python_version < '3.12'\nc==1; python_version >= '3.10'\n"
    )
    assert [one.text for one in in_requirements(str(file))] == ["a==1", "c==1"]


@pytest.mark.parametrize(
    ("read", "name", "content", "message"),
    [
        (in_pyproject, "pyproject.toml", None, "cannot be read"),
        (in_pyproject, "pyproject.toml", "[project", "is not TOML"),
        (in_uv_lock, "uv.lock", None, "uv.lock' cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, read, name, content, message):
    """A missing file and one that is no TOML say so."""
    if content is not None:
        (tmp_path / name).write_text(content)
    asked = tmp_path if read is in_uv_lock else tmp_path / name
    with pytest.raises(DeclarationError, match=message):
        list(read(str(asked)))


def test_another_engine_has_another_set(folder):
    """A pin that one engine's set has contradicts another's."""
    (folder / "r.txt").write_text(f"torch=={TORCH}\n")
    image = ImageSpec.engine().requirements("r.txt")
    passes(image)
    assert engine_set("vllm").torch != TORCH
    with pytest.raises(DeclarationError, match="of vLLM"):
        image.on(VLLM().image()).to_modal()
