from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.declare.image import ImageSpec
from modalkit.declare.pins import check_requirement, is_pinned, unpinned_in_file
from modalkit.errors import DeclarationError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "0f" * 32


def refused(make) -> str:
    with pytest.raises(DeclarationError) as raised:
        make()
    return str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "torch==2.13.0",
        "torch == 2.13.0+cu130",
        "torch===2.13.0",
        "torch[opt]==2.13.0; python_version >= '3.11'",
        "torch==2.13.0,!=2.12.0",
        f"x @ git+https://github.com/a/x.git@{COMMIT}",
        f"x @ git+https://github.com/a/x.git@{COMMIT}#subdirectory=python",
        f"x @ https://example.com/x-1-py3-none-any.whl#sha256={'0f' * 32}",
    ],
)
def test_exact_requirements_are_pinned(text):
    """A full version, a commit and a hash each mean one thing for ever."""
    assert is_pinned(text)
    assert ImageSpec().pip(text).pinned


@pytest.mark.parametrize(
    "text",
    [
        "torch",
        "torch>=2.13.0",
        "torch==2.13.*",
        "torch~=2.13.0",
        "torch<=2.13.0",
        "x @ git+https://github.com/a/x.git@main",
        "x @ git+https://github.com/a/x.git@v1.0",
        f"x @ git+https://github.com/a/x.git@{COMMIT[:12]}",
        "x @ https://example.com/x-1-py3-none-any.whl",
    ],
)
def test_open_requirements_are_not(text):
    """A range, a branch, a tag, a short commit and a bare file can change."""
    assert not is_pinned(text)
    assert ImageSpec().uv(text).unpinned == (text,)


@given(st.integers(0, 999), st.integers(0, 99), st.integers(0, 99))
def test_every_full_version_is_pinned(major, minor, patch):
    """Whatever the numbers, == with all of them is a pin and >= is not."""
    assert is_pinned(f"name=={major}.{minor}.{patch}")
    assert not is_pinned(f"name>={major}.{minor}.{patch}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("torch=2.13.0", "Write 'torch==2.13.0'."),
        ("torch 2.13.0", "Write 'torch==2.13.0'."),
        ("torch@2.13.0", "Write 'torch==2.13.0'."),
        ("torch:v2.13.0", "Write 'torch==2.13.0'."),
        ("torch[opt]=2.13", "Write 'torch[opt]==2.13'."),
        ("git+https://github.com/a/x.git@main", "Write 'x @ git+https://github.com/a/x.git@main'."),
        ("https://example.com/x.whl", "Write 'x.whl @ https://example.com/x.whl'."),
        ("--pre", "Write pre=True instead."),
        ("-r base.txt", "Write .requirements('base.txt') instead."),
        ("--index-url=https://x.example", "Write index_url='https://x.example' instead."),
        ("--no-deps", "Install with .run(...) what needs options."),
        ("torch>2,<", "Write NAME==VERSION, such as 'torch==2.13.0'"),
        ("./dist/x.whl", "Write NAME==VERSION"),
        ("", "has an empty requirement"),
    ],
)
def test_a_requirement_pip_cannot_read_is_told_the_nearest(text, told):
    """What is nearly a requirement is refused with the form that is one."""
    assert told in refused(lambda: check_requirement("ImageSpec.pip", text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("torch==2.1.0", "torch==2.2.0"),
        ("torch==2.1.0", "Torch>=2.2"),
        ("torch>=2.2", "torch==2.1.0"),
        ("typing_extensions==4.1", "typing-extensions==4.2"),
    ],
)
def test_two_requirements_that_rule_each_other_out(one, other):
    """Contradicting versions of one package are refused, in one step and across steps."""
    for make in (
        lambda: ImageSpec().pip(one, other),
        lambda: ImageSpec().pip(one).apt("git").uv(other),
    ):
        message = refused(make)
        assert repr(one) in message
        assert repr(other) in message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("torch==2.1", "torch==2.1.0"),
        ("torch==2.1.0", "torch>=2"),
        ("torch==2.1.0", "torch"),
        ("torch>=2", "torch<2"),  # may be wrong, but no exact version says so
        ("torch==2.1.0; sys_platform == 'linux'", "torch==2.2.0; sys_platform == 'darwin'"),
        ("torch==2.1.0", f"torch @ git+https://github.com/a/x.git@{COMMIT}"),
        ("torch==2.1.0", "torchvision==0.20.0"),
    ],
)
def test_two_requirements_that_agree(one, other):
    """Requirements that some version may satisfy are let through."""
    assert len(ImageSpec().pip(one).pip(other).layers) == 2


def test_bases_are_pinned_by_digest():
    """A registry tag can move and a Dockerfile can change; a digest cannot."""
    assert ImageSpec().pinned
    assert ImageSpec.registry("nvidia/cuda:13.0.1").unpinned == ("nvidia/cuda:13.0.1",)
    assert ImageSpec.registry(f"nvidia/cuda:13.0.1@{DIGEST}").pinned
    assert ImageSpec.registry(f"localhost:5000/mine@{DIGEST}").pinned
    assert ImageSpec.dockerfile("Dockerfile").unpinned == ("Dockerfile",)


def test_project_files():
    """A frozen uv.lock pins; one that may change and a pyproject.toml do not."""
    assert ImageSpec().uv_lock("service").pinned
    assert ImageSpec().uv_lock("service", frozen=False).unpinned == ("service/uv.lock",)
    assert ImageSpec().pyproject("pyproject.toml").unpinned == ("pyproject.toml",)
    assert ImageSpec().apt("git").run("pip install x").pinned


def test_a_requirements_file_is_read_line_by_line(tmp_path):
    """Comments, continued lines, hashes, options and included files are read as pip reads them."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("scipy>=1\n-r ../requirements.txt\n")
    (tmp_path / "requirements.txt").write_text(
        "# what we serve with\n"
        "--index-url https://example.com/simple\n"
        "numpy==2.3.0  # pinned\n"
        "torch==2.13.0 \\\n"
        f"    --hash={DIGEST} \\\n"
        f"    --hash={DIGEST}\n"
        f"wheel @ https://example.com/w.whl --hash={DIGEST}\n"
        "\n"
        "pandas\n"
        "-e ./mine\n"
        "-r more/base.txt\n"
        "-c limits.txt\n"
        "requests \\\n"
        "  >= 2 \\"
    )
    main = tmp_path / "requirements.txt"
    assert ImageSpec().requirements(str(main)).unpinned == (
        f"{main}: pandas",
        f"{main}: -e ./mine",
        f"{tmp_path}/more/base.txt: scipy>=1",
        f"{main}: requests   >= 2",
    )


def test_a_bad_line_of_a_file_is_named(tmp_path):
    """A line pip could not read is told with file, line and the nearest right form."""
    path = tmp_path / "requirements.txt"
    path.write_text("numpy==2.3.0\n\ntorch=2.13.0\n")
    message = refused(lambda: unpinned_in_file(str(path)))
    assert f"{path}, line 3: 'torch=2.13.0' is not a requirement. Write 'torch==2.13.0'." in message


def test_a_missing_file_is_named():
    """Asking what a missing file pins names the file."""
    assert "'no-such.txt' cannot be read" in refused(
        lambda: ImageSpec().requirements("no-such.txt").pinned
    )


def test_an_index_is_a_url():
    """A package index must be a URL."""
    assert "is not the URL of a package index" in refused(
        lambda: ImageSpec().pip("x", index_url="cu130")
    )
