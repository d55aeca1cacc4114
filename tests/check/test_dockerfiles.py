"""Dockerfiles: given as a path, or named by a file that builds an image from one."""

from __future__ import annotations

from pathlib import Path

import pytest

from modalkit.check import check_paths
from modalkit.check.dockerfiles import is_dockerfile
from modalkit.check.runner import check_dockerfile
from modalkit.check.settings import Settings

KEY = "hf_" + "QwErTyUiOp7412589630aSdFgHjKlZxCvB"  # put together: no line has a key's shape
RANDOM = "q7Zk20fPw9Lx" + "Vb3TnR8sYd5M"
BUILDS = 'import modal\n\napp = modal.App("x", image=modal.Image.from_dockerfile("docker/gpu.Dockerfile"))\n'


def found(tmp_path: Path, text: str) -> list[tuple[str, int, str]]:
    """Code, line and pointed-at text of what is found in a Dockerfile."""
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    lines = text.split("\n")
    return [
        (
            one.code,
            one.span.line,
            lines[one.span.line - 1][one.span.column - 1 : one.span.end_column - 1],
        )
        for one in check_dockerfile(str(path))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"FROM python:3.12\nENV HF_TOKEN={KEY}\n", ("MK201", 2, KEY)),
        (f'FROM python:3.12\nENV A=1 \\\n    HF_TOKEN="{KEY}"\n', ("MK201", 3, KEY)),
        (f"FROM python:3.12\nRUN hf auth login --token {KEY}\n", ("MK201", 2, KEY)),
        (f"FROM python:3.12\nARG API_TOKEN={RANDOM}\n", ("MK202", 2, RANDOM)),
        (f"FROM python:3.12\nENV API_TOKEN {RANDOM}\n", ("MK202", 2, RANDOM)),
        (f"FROM python:3.12\nRUN export API_TOKEN={RANDOM} && make\n", ("MK202", 2, RANDOM)),
        ("FROM vllm/vllm-openai:latest\n", ("MK303", 1, "vllm/vllm-openai:latest")),
        ("FROM --platform=linux/amd64 ubuntu AS base\n", ("MK303", 1, "ubuntu")),
        ("ARG TAG=latest\nFROM python:${TAG}\n", ("MK303", 2, "python:${TAG}")),
        ("FROM python:3.12\nRUN pip install \\\n  # why\n  vllm torch==2.9.0\n", ("MK301", 4, "vllm")),
        ("FROM python:3.12\nRUN uv pip install requests\n", ("MK302", 2, "requests")),
        ("FROM python:3.12\nRUN <<EOF\npip install torch\nEOF\n", ("MK301", 3, "torch")),
        ("FROM python:3.12\nCOPY .env /app/\n", ("MK206", 2, ".env")),
    ],
)  # fmt: skip
def test_a_mistake_is_found_at_its_own_line(tmp_path, text, expected):
    """Keys, moving tags, open versions and copied keys are found where they stand."""
    assert expected in found(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "FROM python:3.12-slim\nENV HF_TOKEN=\n",
        "FROM python:3.12\nARG HF_TOKEN\nENV HF_TOKEN=${HF_TOKEN}\n",
        "FROM python:3.12\nRUN --mount=type=secret,id=hf HF_TOKEN=$(cat /run/secrets/hf) make\n",
        "FROM python:3.12\nENV HF_TOKEN=your-token-here\n",
        "FROM python:3.12 AS base\nFROM base\nFROM scratch\n",
        "FROM python@sha256:" + "0" * 64 + "\n",
        "ARG BASE\nFROM ${BASE}\n",
        "FROM registry.example.com:5000/base:v2\n",
        "FROM python:3.12\nRUN pip install --upgrade pip && pip install torch==2.9.0\n",
        "FROM python:3.12\nRUN pip install -r requirements.txt\nCOPY .env.example /app/\n",
        "FROM python:3.12\nRUN pip install transformers==${VERSION} $PACKAGES\n",
        "# pip install torch\nFROM python:3.12\nENV COMMIT=12fd6884d2585dd4d020373e7f39f74507b31866\n",
    ],
)
def test_what_is_right_is_left_alone(tmp_path, text):
    """Values from outside, stages, digests, pins and placeholders give no finding."""
    assert found(tmp_path, text) == []


def test_the_file_that_a_program_builds_from_is_read(tmp_path):
    """A Dockerfile named by `from_dockerfile` is checked with its own path and lines."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "app.py").write_text(BUILDS)
    (tmp_path / "docker" / "gpu.Dockerfile").write_text("FROM ubuntu:latest\n")
    (finding,) = check_paths([str(tmp_path / "app.py")], Settings(static=True)).findings
    assert finding.place == f"{tmp_path / 'docker' / 'gpu.Dockerfile'}:1:6"
    assert finding.code == "MK303"
    assert finding.source_line == "FROM ubuntu:latest"


@pytest.mark.parametrize(
    "path",
    [
        '"gpu.Dockerfile"',
        'Path(__file__).parent / "gpu.Dockerfile"',
        'str(Path(__file__).resolve().parent.joinpath("gpu.Dockerfile"))',
        'HERE / "gpu.Dockerfile"',
        'os.path.join(os.path.dirname(os.path.abspath(__file__)), "gpu.Dockerfile")',
        'Path(__file__).parents[1] / "pkg" / "gpu.Dockerfile"',
        '"pkg/gpu.Dockerfile"',
        'path=HERE / "gpu.Dockerfile"',
    ],
)
def test_the_path_of_a_dockerfile_is_read(tmp_path, path):
    """Paths made from the file's own place, and those from a folder above it, lead to the Dockerfile."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "gpu.Dockerfile").write_text("FROM ubuntu\n")
    text = "import os\nfrom pathlib import Path\n\nimport modal\n\nHERE = Path(__file__).parent\n"
    (tmp_path / "pkg" / "app.py").write_text(f"{text}image = modal.Image.from_dockerfile({path})\n")
    findings = check_paths([str(tmp_path / "pkg" / "app.py")], Settings(static=True)).findings
    assert [one.code for one in findings] == ["MK303"]


def test_a_file_that_is_given_twice_is_said_once(tmp_path, monkeypatch):
    """A Dockerfile named by a program and on the command line gives each finding once."""
    monkeypatch.chdir(tmp_path)
    Path("docker").mkdir()
    Path("app.py").write_text(BUILDS)
    Path("docker/gpu.Dockerfile").write_text("FROM ubuntu:latest\n")
    report = check_paths(["app.py", "docker/gpu.Dockerfile"])
    assert [one.place for one in report.findings] == ["docker/gpu.Dockerfile:1:6"]


def test_a_missing_dockerfile_is_no_finding(tmp_path):
    """Where the file is not here, nothing is known of it."""
    (tmp_path / "app.py").write_text(BUILDS)
    assert check_paths([str(tmp_path / "app.py")]).findings == ()


def test_a_comment_silences_the_instruction_behind_it(tmp_path):
    """An ignore comment holds for the next instruction, however many lines it has."""
    text = "FROM python:3.12\n# modalkit: ignore[MK302] ours\nRUN pip install \\\n    requests\n"
    assert found(tmp_path, text) == []
    assert [code for code, _, _ in found(tmp_path, text.replace("requests", "requests==2.32"))] == [
        "MK911"
    ]


def test_a_key_is_not_shown(tmp_path):
    """The line of a finding has a key's first characters alone."""
    path = tmp_path / "Dockerfile"
    path.write_text(f"FROM python:3.12\nENV HF_TOKEN={KEY}\n")
    (finding,) = check_dockerfile(str(path))
    assert KEY not in finding.source_line + finding.message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dockerfile", True), ("docker/Dockerfile.gpu", True), ("gpu.Dockerfile", True), ("Containerfile", True),
        ("dockerfile.py", False), ("dockerfile_tools.txt", False), ("app.py", False),
    ],
)  # fmt: skip
def test_dockerfiles_are_known_by_their_name(name, expected):
    """Programs about Dockerfiles are none."""
    assert is_dockerfile(name) is expected


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"FROM a\\", b"\\\n" * 1000, b"RUN <<A <<B\nx\n", b""]
)
def test_a_broken_dockerfile_ends_in_findings(tmp_path, data):
    """No Dockerfile stops a check."""
    path = tmp_path / "Dockerfile"
    path.write_bytes(data)
    assert {one.code for one in check_dockerfile(str(path))} <= {"MK902", "MK303"}


def test_options_without_end_are_read_in_no_time(tmp_path: Path) -> None:
    """Dashes in a row can be read in one way alone: each more would double the time otherwise."""
    assert found(tmp_path, f"FROM {'--a' * 5000} b c\n") == []
    assert found(tmp_path, f"FROM {'--a=b ' * 500}ubuntu\n") == [("MK303", 1, "ubuntu")]


def test_a_path_that_cannot_be_one_is_left(tmp_path: Path) -> None:
    """A name longer than a file system takes is the file's own trouble, and ends no check."""
    file = tmp_path / "app.py"
    file.write_text(BUILDS.replace("docker/gpu.Dockerfile", "a" * 300))
    assert check_paths([str(file)], Settings(static=True)).files == 1
