"""Projects as requirements: `uv_sync` and `poetry_install_from_file`."""

from __future__ import annotations

import pytest

from modalkit.local.images.projects import poetry_requirements, uv_requirements

UV = {
    "/.uv/pyproject.toml": b"""
[project]
dependencies = ["a>=1"]
[project.optional-dependencies]
fast = ["b"]
[dependency-groups]
dev = ["c"]
docs = [{include-group = "dev"}, "d"]
""",
    "/.uv/uv.lock": b"""
[[package]]
name = "a"
version = "1.5"
source = { registry = "x" }
[[package]]
name = "own"
version = "0"
source = { virtual = "." }
[[package]]
name = "forked"
version = "1"
[[package]]
name = "forked"
version = "2"
""",
}
POETRY = {
    "/tmp/poetry/pyproject.toml": b"""
[tool.poetry.dependencies]
python = "^3.11"
a = "^1.2.3"
b = { version = "~0.4", extras = ["x"], markers = "sys_platform == 'linux'" }
[tool.poetry.group.dev.dependencies]
c = "*"
""",
    "/tmp/poetry/poetry.lock": b"""
[[package]]
name = "a"
version = "1.9.0"
""",
}


def test_a_uv_project_with_its_lock():
    """Requirements come from the project, versions from the lock, but where it has several."""
    requirements, pins = uv_requirements(UV, ["--extra=fast", "--group=docs"])
    assert requirements == ("a>=1", "b", "c", "d", "c")
    assert pins == ("a==1.5",)


def test_uv_leaves_out_its_development_group_when_told():
    """`--no-dev` is honoured."""
    assert uv_requirements(UV, ["--no-dev"])[0] == ("a>=1",)


def test_a_poetry_project_with_its_lock():
    """Poetry's ranges become standard ones; the lock's versions win."""
    assert poetry_requirements(POETRY, []) == (
        "a==1.9.0",
        "b[x]>=0.4,<0.5; sys_platform == 'linux'",
        "c",
    )
    assert poetry_requirements(POETRY, ["--without", "dev"])[-1].startswith("b[x]")
    assert poetry_requirements(POETRY, ["--only=dev"]) == ("c",)


@pytest.mark.parametrize(
    ("written", "standard"),
    [
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.2", ">=0.2,<0.3"),
        ("^2", ">=2,<3"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1", ">=1,<2"),
        ("1.4", "==1.4"),
        (">=1,<3", ">=1,<3"),
        ("*", ""),
    ],
)
def test_poetrys_ranges(written, standard):
    """A caret keeps the first number that is not zero, a tilde the second one."""
    project = f'[tool.poetry.dependencies]\na = "{written}"\n'.encode()
    assert poetry_requirements({"/tmp/poetry/pyproject.toml": project}, []) == (f"a{standard}",)
