"""What holds of every fix: only its spans change, a second run changes nothing, files keep their form."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.check.findings import Edit, Span
from modalkit.check.fixing import apply_edits, fix_file, fix_paths, fix_text
from modalkit.check.settings import Settings

PROGRAMS = sorted((Path(__file__).parent / "old_programs").glob("p*.py"))
OLD = [
    "container_idle_timeout=300",
    "concurrency_limit = 2",
    "keep_warm=1",
    "allow_concurrent_inputs=4",
    'gpu=modal.gpu.A100(count=2, size="80GB")',
    "gpu=modal.gpu.T4()",
    "interactive=True",
    'secret=modal.Secret.from_name("s")',
    "mounts=[modal.Mount.from_local_dir('data', remote_path='/data')]",
    "_allow_background_volume_commits=True",
]
NEW = ["timeout=60", "memory=512", "retries=2", "cpu=1.0"]
COMMENTS = ["", "  # why", "  # ümläut 🚀", "  # keep_warm=1 is old"]


def comments(text: str) -> list[str]:
    return [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]


@st.composite
def decorators(draw: st.DrawFn) -> str:
    """A call of ``app.function`` with old and new keywords, in some layout."""
    kinds = {
        one.split("=")[0].strip(): one
        for one in draw(st.lists(st.sampled_from(OLD + NEW), max_size=6))
    }
    arguments = list(kinds.values())
    layout = draw(st.sampled_from(["line", "lines", "hugging"]))
    if layout == "line" or not arguments:
        return f"@app.function({', '.join(arguments)})"
    if layout == "hugging":
        return "@app.function(" + ",\n              ".join(arguments) + ")"
    lines = [f"    {one},{draw(st.sampled_from(COMMENTS))}" for one in arguments]
    return "\n".join(["@app.function(", *lines, ")"])


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A small program with functions, and code of no interest between them."""
    parts = ["import modal", "", 'app = modal.App("p")', ""]
    for index in range(draw(st.integers(1, 4))):
        filler = draw(
            st.sampled_from(
                ["", "x = {  'a':1 ,}", "def helper( a,b ): return a  +b # odd", "# note"]
            )
        )
        parts += [filler, "", draw(decorators()), f"def f{index}(x):", "    return  x", ""]
    return "\n".join(parts)


@given(programs())
@settings(max_examples=150, deadline=None)
def test_a_second_run_changes_nothing(program: str) -> None:
    """The fixed text is Python, has nothing left to fix, and fixing it again gives it back."""
    fixed = fix_text("p.py", program, unsafe=True)
    ast.parse(fixed.text)
    again = fix_text("p.py", fixed.text, unsafe=True)
    assert again.text == fixed.text
    assert not again.applied


@given(programs())
@settings(max_examples=150, deadline=None)
def test_what_no_fix_means_stays_byte_for_byte(program: str) -> None:
    """Lines without an old name are all there afterwards, in their order."""
    fixed = fix_text("p.py", program, unsafe=True)
    left = iter(fixed.text.split("\n"))
    words = [one.split("=")[0].strip() for one in OLD]
    for line in program.split("\n"):
        if (
            line.strip(" )")
            and "app.function" not in line
            and not any(word in line for word in words)
        ):
            bare = line.rstrip(",) ") if line.startswith("  ") else line
            assert any(one.startswith(bare) for one in left), line


@given(programs())
@settings(max_examples=60, deadline=None)
def test_line_endings_are_kept(program: str) -> None:
    """A file with Windows line endings is fixed as the same file with others."""
    plain = fix_text("p.py", program, unsafe=True).text
    windows = fix_text("p.py", program.replace("\n", "\r\n"), unsafe=True).text
    assert windows == plain.replace("\n", "\r\n")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_comments_stay(program: Path) -> None:
    """Every comment of an old program that is not on a removed line is in the fixed one."""
    before = program.read_text()
    after = fix_text(program.name, before, unsafe=True).text
    gone = set(comments(before)) - set(comments(after))
    lines = [line for line in before.split("\n") if any(one in line for one in gone)]
    assert all(not line.strip().startswith("#") for line in lines)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_fixed_program_has_the_same_definitions(program: Path) -> None:
    """Functions and classes keep their names and order; only lifecycle methods may get others."""

    def names(text: str) -> list[str]:
        tree = ast.parse(text)
        return [one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)]

    before = program.read_text()
    assert names(fix_text(program.name, before, unsafe=True).text) == names(before)


GPUS = """import os

import modal
from modal import gpu

app = modal.App("gpus")
BIG = os.environ.get("BIG") == "1"
KNOWN = gpu.A100(count=8)
{given}


@app.function(gpu=gpu.L4(count=2))
def f():
    return KNOWN.count, "banana".count("a")


@app.function(gpu={name})
def g():
    return {name}.count
"""


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Conf.one", "class Conf:\n    one = gpu.L4(count=2)"),
        ('TABLE["one"]', 'TABLE = {"one": gpu.L4(count=2)}'),
        ("ONE", "ONE = make(gpu.L4(count=2))"),
        ("ONE", "if BIG:\n    ONE = gpu.L4(count=2)\nelse:\n    ONE = gpu.B9(count=3)"),
    ],
    ids=["class", "dict", "function", "unknown"],
)
def test_a_gpu_whose_count_is_read_stays(name: str, given: str, unsafe: bool) -> None:
    """Where the count of a GPU is read and which GPU is not sure, the finding says what to write."""
    program = GPUS.format(name=name, given=given)
    fixed = fix_text("gpus.py", program, unsafe=unsafe)
    assert given in fixed.text
    assert f"return {name}.count" in fixed.text
    assert "from modal import gpu" in fixed.text
    assert '@app.function(gpu="L4:2")' in fixed.text
    words = [one.instead for one in fixed.left if one.code == "MK805"]
    assert '"L4:2", and the number itself where .count is read.' in words


@pytest.mark.parametrize("big", ["0", "1"])
@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ("if BIG:\n    ONE = gpu.L4(count=2)\nelse:\n    ONE = gpu.T4()", (1, 2)),
        ("ONE = gpu.L4(count=2) if BIG else gpu.T4()", (1, 2)),
        ("FIRST = gpu.L4(count=2)\nONE = FIRST", (2, 2)),
        ("ONE = gpu.L4(count=3 + BIG) if BIG else gpu.A100(size='80GB', count=8)", (8, 4)),
    ],
    ids=["branches", "choice", "alias", "computed"],
)
def test_the_count_of_one_gpu_of_several_is_read_from_its_name(
    given: str, counts: tuple[int, int], big: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every GPU that may be meant is known, the fixed program counts what the old one counted."""
    fixed = fix_text("gpus.py", GPUS.format(name="ONE", given=given))
    assert not [one for one in fixed.left if one.code.startswith("MK8")]
    monkeypatch.setenv("BIG", big)
    names: dict[str, object] = {}
    exec(compile(fixed.text, "gpus.py", "exec"), names)
    assert names["g"].local() == counts[int(big)]


def test_a_count_of_the_programs_own_stops_no_fix() -> None:
    """A counter and a list's method are no GPU's count; that of one GPU becomes its number."""
    program = (
        "import modal\n\nONE = OTHER = modal.gpu.L4(count=2)\n\n\nclass Tally:\n"
        "    def add(self, words):\n        self.count = words.count('a')\n"
        "        return self.count + OTHER.count\n"
    )
    text = fix_text("p.py", program).text
    assert 'ONE = OTHER = "L4:2"' in text
    assert "return self.count + 2\n" in text


def test_an_edit_replaces_its_span_alone() -> None:
    """Spans count characters, from one; an empty one inserts, with the file's line ending."""
    text = "a = 'ü'\r\nb = 2\r\n"
    edits = [Edit(Span(2, 5, 2, 6), "3"), Edit(Span(1, 8, 1, 8), "  # x\n")]
    assert apply_edits(text, edits) == "a = 'ü'  # x\r\n\r\nb = 3\r\n"


def test_a_file_keeps_its_encoding(tmp_path: Path) -> None:
    """A byte order mark and a declared encoding are as they were."""
    program = '# -*- coding: latin-1 -*-\nimport modal\n\nstub = modal.Stub("größe")\n'
    latin, marked = tmp_path / "latin.py", tmp_path / "marked.py"
    latin.write_bytes(program.encode("latin-1"))
    marked.write_bytes(b"\xef\xbb\xbf" + program.replace("latin-1", "utf-8").encode())
    for path in (latin, marked):
        fix_file(path)
    assert latin.read_bytes() == program.replace("Stub", "App").replace("stub", "app").encode(
        "latin-1"
    )
    assert marked.read_bytes().startswith(b"\xef\xbb\xbf# -*-")


def test_safe_fixes_leave_what_may_change_a_program() -> None:
    """Without leave, an old Python and a network file system stay, and are counted."""
    program = (
        "import modal\n\napp = modal.App('x', image=modal.Image.debian_slim('3.10'))\n"
        "files = modal.NetworkFileSystem.from_name('f', create_if_missing=True)\n"
    )
    assert fix_text("p.py", program).text == program
    assert fix_text("p.py", program).unsafe == 2
    assert "modal.Volume" in fix_text("p.py", program, unsafe=True).text


def test_an_ignored_finding_is_not_fixed() -> None:
    """A comment that silences a finding keeps its code as it is."""
    program = (
        "import modal\n\napp = modal.App('x')\n\n\n"
        "@app.function(keep_warm=1)  # modalkit: ignore[MK802] shown in a talk\ndef f(): ...\n"
    )
    assert fix_text("p.py", program).text == program


def test_files_that_cannot_be_read_stay(tmp_path: Path) -> None:
    """A broken file in a folder stops nothing, and files without Modal are not touched."""
    (tmp_path / "broken.py").write_text("import modal\ndef f(:\n")
    (tmp_path / "other.py").write_text("class Stub: ...\n")
    (tmp_path / "old.py").write_text("import modal\nstub = modal.Stub()\n")
    changed = fix_paths([str(tmp_path)], Settings())
    assert [Path(one).name for one in changed] == ["old.py"]
    assert (tmp_path / "broken.py").read_text() == "import modal\ndef f(:\n"


def test_a_name_that_another_file_takes_is_kept(tmp_path: Path) -> None:
    """`stub` stays where a file beside this one imports it."""
    (tmp_path / "common.py").write_text("import modal\nstub = modal.Stub('x')\n")
    (tmp_path / "work.py").write_text(
        "from common import stub\n\n@stub.function(keep_warm=1)\ndef f(): ...\n"
    )
    fix_paths([str(tmp_path)], Settings())
    assert (tmp_path / "common.py").read_text() == "import modal\nstub = modal.App('x')\n"


APP = "import modal\n\napp = modal.App('x')\nimage = modal.Image.debian_slim()\nN = 8\nD = 'data'\n\n\n"


@pytest.mark.parametrize(("value", "moved"), [("n", False), ("N", True), ("8", True)])
def test_a_value_that_a_decorator_does_not_see_stays(value: str, moved: bool) -> None:
    """An argument of the function that makes the options is no name of the module."""
    program = (
        f"{APP}def opts(n):\n    return dict(gpu='T4', allow_concurrent_inputs={value})\n\n\n"
        "@app.function(**opts(8))\ndef f(): ...\n"
    )
    fixed = fix_text("p.py", program)
    assert (f"@modal.concurrent(max_inputs={value})" in fixed.text) is moved
    assert [one.code for one in fixed.left if one.code == "MK804"] == ([] if moved else ["MK804"])


@pytest.mark.parametrize(("value", "moved"), [("d", False), ("D", True), ("'data'", True)])
def test_a_folder_that_an_image_does_not_see_stays(value: str, moved: bool) -> None:
    """A mount in a function that makes the options goes onto the image only where its names are."""
    program = (
        f"{APP}def opts(d):\n    return dict(mounts=[modal.Mount.from_local_dir({value}, remote_path='/x')])\n\n\n"
        "@app.function(image=image, **opts('data'))\ndef f(): ...\n"
    )
    fixed = fix_text("p.py", program)
    assert (f"image.add_local_dir({value}, remote_path='/x')" in fixed.text) is moved
    assert any(one.code == "MK806" for one in fixed.left) is not moved


def test_a_value_that_another_one_overrides_is_not_written() -> None:
    """Of two numbers for one call the last holds, so that both are named and none is moved."""
    program = (
        f"{APP}BASE = {{'gpu': 'T4', 'allow_concurrent_inputs': 10}}\n\n\n"
        "@app.function(**{**BASE, 'allow_concurrent_inputs': 100})\ndef f(): ...\n"
    )
    fixed = fix_text("p.py", program)
    assert fixed.text == program
    assert [one.span.line for one in fixed.left if one.code == "MK804"] == [9, 12]
    alone = fix_text("p.py", program.replace(", 'allow_concurrent_inputs': 100", ""))
    assert "@modal.concurrent(max_inputs=10)" in alone.text
