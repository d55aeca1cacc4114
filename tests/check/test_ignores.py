"""Ignore comments: what they hold for, how they name rules, and what is wrong with one."""

from __future__ import annotations

import pytest

from modalkit.check.fixing import fix_text
from modalkit.check.runner import check_source
from modalkit.check.source import parse_source

HEAD = 'import modal\n\napp = modal.App("x")\n\n\n'


def codes(text: str) -> list[str]:
    return [one.code for one in check_source(parse_source("a.py", HEAD + text))]


@pytest.mark.parametrize(
    "text",
    [
        '@app.function(gpu="R9")  # modalkit: ignore[unknown-gpu] ours\ndef f(): ...\n',
        '@app.function(gpu="R9")  # modalkit: ignore[Unknown-GPU, mk302] ours\ndef f(): ...\n'.replace(", mk302", ""),
        '@app.function(  # modalkit: ignore[MK101] ours\n    timeout=60,\n    gpu="R9",\n)\ndef f(): ...\n',
        '@app.function(\n    timeout=60,\n    gpu="R9",\n)  # modalkit: ignore[MK101] ours\ndef f(): ...\n',
        '@app.function(\n    timeout=60,\n    gpu="R9",  # modalkit: ignore[MK101] ours\n)\ndef f(): ...\n',
        '# modalkit: ignore[MK101] ours\n@app.function(\n    timeout=60,\n    gpu="R9",\n)\ndef f(): ...\n',
        '# modalkit: ignore[MK101] ours\n\n@app.function(timeout=60)\n@other(gpu=app.function(gpu="R9"))\ndef f(): ...\n',
        '@app.function(gpu="R9")\ndef f(\n    x,\n):  # modalkit: ignore[MK101] ours\n    return x\n',
        '# modalkit: ignore-file[MK101] previews of next year\n\n\n@app.function(gpu="R9")\ndef f(): ...\n',
        '@app.function(gpu="R9")\ndef f(): ...\n\n\n# modalkit: ignore-file[unknown-gpu] previews\n',
        '@app.function(gpu="R9")  # noqa: E501  # modalkit: ignore[MK101] ours\ndef f(): ...\n',
    ],
)  # fmt: skip
def test_a_comment_silences_what_it_stands_at(text):
    """By code or name, at the first or last line of a statement, above decorators, or for the file."""
    assert codes(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('@app.function(\n    timeout=60,  # modalkit: ignore[MK101] no\n    gpu="R9",\n)\ndef f(): ...\n', ["MK101", "MK911"]),
        ('# modalkit: ignore[MK101] no\nX = 1\n\n\n@app.function(gpu="R9")\ndef f(): ...\n', ["MK101", "MK911"]),
        ('@app.function(gpu="R9")\ndef f():\n    return 1  # modalkit: ignore[MK101] no\n', ["MK101", "MK911"]),
        ('@app.function(gpu="R9")  # modalkit: ignore[MK101]\ndef f(): ...\n', ["MK913"]),
        ('@app.function(gpu="R9")  # modalkit: ignore[MK101]:  \ndef f(): ...\n', ["MK913"]),
        ('@app.function(gpu="R9")  # modalkit: ignore[unknown-gpus] why\ndef f(): ...\n', ["MK101", "MK912"]),
        ('@app.function(gpu="R9")  # modalkit: ignore[MK101, MK302] why\ndef f(): ...\n', ["MK911"]),
        ("# modalkit: ignore-file[MK302] why\n", ["MK911"]),
        ("# modalkit: ignore-file why\n", ["MK912"]),
    ],
)  # fmt: skip
def test_a_comment_that_is_wrong_is_found(text, expected):
    """What it silences elsewhere, what it names that is no rule, and a missing reason are said."""
    assert sorted(codes(text)) == expected


def test_a_misspelt_rule_is_told_the_nearest():
    """A name that is no rule's comes with the name that was meant."""
    text = HEAD + "X = 1  # modalkit: ignore[unpined-requirement] why\n"
    (finding,) = check_source(parse_source("a.py", text))
    assert "Did you mean 'unpinned-requirement'?" in finding.message


@pytest.mark.parametrize(
    "comment",
    ["{at}  # modalkit: ignore[MK101] ours", "# modalkit: ignore[MK101] ours\n{at}"],
    ids=["beside", "above"],
)
@pytest.mark.parametrize(
    "call",
    [
        '@app.function(gpu="R9", keep_warm=1, allow_concurrent_inputs=4)',
        '@app.function(gpu="R9", container_idle_timeout=60, concurrency_limit=1, mounts=[modal.Mount.from_local_dir("d", remote_path="/d")])',
        '@app.function(\n    gpu="R9",\n    interactive=True,\n    secret=modal.Secret.from_name("s"),\n)',
    ],
    ids=["decorator", "wrapped", "lines"],
)  # fmt: skip
def test_a_comment_holds_after_the_fixes(comment, call):
    """What a comment silenced before the fixes is silenced after them, and the comment is used."""
    program = HEAD + comment.format(at=call) + "\ndef f(x):\n    return x\n"
    fixed = fix_text("p.py", program, unsafe=True)
    assert fixed.applied
    assert not {"MK101", "MK911"} & {one.code for one in fixed.left}
    assert "# modalkit: ignore[MK101] ours" in fixed.text
