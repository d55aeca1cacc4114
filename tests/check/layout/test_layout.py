"""Statements laid out as `ruff format` would, and left alone where that is not known."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modalkit.check.fixing import fix_file, fix_text
from modalkit.check.layout import laid_out, line_limit
from modalkit.check.layout.pieces import UnknownLayoutError
from modalkit.check.layout.sameness import is_same_program

PROGRAMS = Path(__file__).parent.parent / "migration" / "old_programs"
_BETWEEN = '"""between"""\n'
_HEADS = {"return": "def f():\n    ", "@": "", "": "if x:\n    "}


def ruff(*arguments: str, text: str | None = None) -> str:
    """What `ruff format` prints, with its own settings."""
    words = [sys.executable, "-m", "ruff", "format", "--isolated", *arguments]
    return subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout


class Writer:
    """Writes statements of the kinds that fixes touch, at random."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def statement(self) -> str:
        kind = self.rng.random()
        if kind < 0.4:
            return f"value = {self.value()}"
        if kind < 0.5:
            return f"return {self.value()}"
        if kind < 0.8:
            return f"@app.function({self.arguments(0)})"
        if kind < 0.9:
            return f"call({self.arguments(0)})"
        names = ["App", "Image", "method", "enter", "Volume", "Secret", "gpu as g", "Stub"]
        return f"from modal import {', '.join(self.rng.sample(names, self.rng.randint(1, 8)))}"

    def value(self, depth: int = 0) -> str:
        kind = self.rng.random()
        if depth > 3 or kind < 0.25:
            return self.rng.choice(["x", '"abcdefgh"', "12345", "a_name", "a.b.c", 'f"{x}:{y}"'])
        if kind < 0.5:
            return f"{self.rng.choice(['f', 'modal.Image.debian_slim'])}({self.arguments(depth)})"
        count = range(self.rng.randint(0, 4))
        if kind < 0.6:
            return f"[{', '.join(self.value(depth + 1) for _ in count)}]"
        if kind < 0.7:
            return "{" + ", ".join(f'"k{i}": {self.value(depth + 1)}' for i in count) + "}"
        steps = (
            f".{self.rng.choice(['env', 'pip_install'])}({self.arguments(depth)})" for _ in count
        )
        return self.rng.choice(["image", "modal.Image.debian_slim()", "f(a)"]) + "".join(steps)

    def arguments(self, depth: int) -> str:
        plain = [self.value(depth + 1) for _ in range(self.rng.randint(0, 3))]
        names = self.rng.sample(["gpu", "image", "timeout", "volumes"], self.rng.randint(0, 3))
        spread = ["**kw"] if self.rng.random() < 0.2 else []
        return ", ".join([*plain, *(f"{one}={self.value(depth + 1)}" for one in names), *spread])


def _head(statement: str) -> str:
    return next(text for start, text in _HEADS.items() if statement.startswith(start))


@pytest.mark.parametrize("limit", [88, 60, 40])
def test_statements_are_laid_out_as_ruff_lays_them_out(limit):
    """Six hundred random statements a limit: each as ruff has it, and that again as it is."""
    writer = Writer(limit)
    statements = [writer.statement() for _ in range(600)]
    tails = ["\ndef f(): ...\n" if one.startswith("@") else "\n" for one in statements]
    parts = [_head(one) + one + tail for one, tail in zip(statements, tails, strict=True)]
    text = ruff("--line-length", str(limit), "-", text=_BETWEEN.join(parts))
    known = 0
    for statement, part in zip(statements, text.split(_BETWEEN), strict=True):
        expected = part.strip("\n").removesuffix("\ndef f(): ...")[len(_head(statement)) :]
        indent = " " * (len(_head(statement)) - _head(statement).rfind("\n") - 1)
        try:
            found = laid_out(statement, indent, limit)
        except UnknownLayoutError:
            continue
        known += 1
        assert found == expected
        assert laid_out(expected, indent, limit) == expected
    assert known > (500 if limit > 40 else 150)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("f(x,y)\n", "f(\n    x,\n    y,\n)\n", True),
        ("x = ('a' 'b')\n", 'x = "ab"\n', True),
        ("f(x)\n", "f\n(x)\n", False),
        ("f(a, (b, c))\n", "f((a, b), c)\n", False),
        ("x = 1\n", "x = True\n", False),
        ("x = a - (b - c)\n", "x = a - b - c\n", False),
        ("f(x)\n", "f(x\n", False),
    ],
)
def test_a_layout_is_kept_only_where_the_program_is_the_same(before, after, same):
    """Spaces and quotes are layout; what Python reads otherwise, or not at all, is none."""
    assert is_same_program(before, after) is same


@pytest.mark.parametrize("limit", [88, 64])
def test_programs_that_were_formatted_are_formatted_after_their_fixes(tmp_path, limit):
    """The whole corpus, formatted first: after the fixes `ruff format` has nothing to do."""
    shutil.copytree(PROGRAMS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "ruff.toml").write_text(f"line-length = {limit}\n")
    words = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--config",
        str(tmp_path / "ruff.toml"),
        "--quiet",
        str(tmp_path),
    ]
    subprocess.run(words, check=True)
    for program in sorted(tmp_path.glob("p*.py")):
        fix_file(program, unsafe=True)
    ended = subprocess.run([*words, "--diff"], capture_output=True, text=True, check=False)
    assert _unknown(ended.stdout) == []


def _unknown(diff: str) -> list[str]:
    """The changed lines of a diff but those of asserts and `with` statements, which are not laid out."""
    hunks = diff.split("@@ ")[1:]
    return [
        one for one in hunks if not any(word in one for word in ("\n-    assert ", "\n-    with "))
    ]


PROGRAM = """import modal

stub = modal.Stub("x")
image = (
    modal.Image.debian_slim()
    # two small packages
    .pip_install("requests==2.32.0")
    .copy_local_file("settings_of_production.json", "/root/settings.json")  # at start
)


def   odd( x ):  return   x


@stub.function(image=image, keep_warm=1, timeout=60, secret=modal.Secret.from_name("x"))
def f(x): return  odd(x)
"""


def test_lines_that_no_fix_touches_stay_as_they_are():
    """A statement that became too long is split; odd code beside it and comments stay."""
    text = fix_text("/nowhere/p.py", PROGRAM).text
    assert "def   odd( x ):  return   x" in text
    assert "    # two small packages\n" in text
    assert '.add_local_file(\n        "settings_of_production.json", "/root/settings.json"' in text
    assert "    )  # at start\n" in text
    assert "@app.function(\n    image=image, min_containers=1, timeout=60, secrets=[" in text


def test_what_was_laid_out_otherwise_is_left_so():
    """A statement that no formatter wrote gets its new words and nothing else."""
    program = PROGRAM.replace("timeout=60, ", "timeout = 60 ,\n   ")
    assert (
        "min_containers=1, timeout = 60 ,\n   secrets=[" in fix_text("/nowhere/p.py", program).text
    )


def test_what_stands_behind_a_removed_statement_stays():
    """A statement that only moves up because the line before it went is not laid out."""
    odd = "image = (\n    modal.Image.debian_slim()\n    .run_commands([\n        'ls',\n        ])\n    )\n"
    program = f"import modal\n\nstub = modal.Stub('x')\n{odd}\nstub.image = image\n"
    assert odd in fix_text("/nowhere/p.py", program).text


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("pyproject.toml", "[tool.ruff]\nline-length = 110\n", 110),
        ("pyproject.toml", "[tool.black]\nline-length = 79\n", 79),
        ("ruff.toml", "line-length = 72\n", 72),
        ("pyproject.toml", "not toml [", 88),
        ("pyproject.toml", '[tool.ruff]\nline-length = "long"\n', 88),
    ],
)  # fmt: skip
def test_the_limit_is_the_formatters(tmp_path, name, text, limit):
    """The nearest settings of ruff or black say how long a line may be."""
    (tmp_path / name).write_text(text)
    (tmp_path / "pkg").mkdir()
    assert line_limit(tmp_path / "pkg" / "a.py") == limit
