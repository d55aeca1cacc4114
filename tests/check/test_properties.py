"""Laws of the check over generated programs."""

from __future__ import annotations

import ast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modalkit.check.ignores import read_ignores
from modalkit.check.runner import check_source
from modalkit.check.settings import Settings
from modalkit.check.source import UnreadableError, parse_source
from modalkit.declare.gpu import gpu_catalogue

STATIC = Settings(static=True)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.sampled_from(["app", "modal", "m", "x", "gpu", "image", "f", "self", "os"])
words = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)
constants = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 10**20), st.floats(allow_nan=False), words
).map(repr)


def _combined(inner):
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda two: f"({two[0]} + {two[1]})"),
        pair.map(lambda two: f"({two[0]} or {two[1]})"),
        pair.map(lambda two: f"({two[0]} if x else {two[1]})"),
        st.lists(inner, max_size=3).map(lambda many: f"[{', '.join(many)}]"),
        pair.map(lambda two: f"{{{two[0]}: {two[1]}}}"),
        st.tuples(inner, names).map(lambda two: f"({two[0]}).{two[1]}"),
        st.tuples(inner, st.lists(inner, max_size=2)).map(
            lambda two: f"({two[0]})({', '.join(two[1])})"
        ),
        st.tuples(names, names, inner).map(lambda three: f"{three[0]}({three[1]}={three[2]})"),
        st.tuples(names, inner).map(lambda two: f"{two[0]}(*{two[1]}, **{two[1]})"),
        inner.map(lambda one: f"(lambda x={one}: x)"),
    )


expressions = st.recursive(st.one_of(names, constants), _combined, max_leaves=12)
keywords = st.sampled_from(
    [
        "gpu",
        "image",
        "timeout",
        "schedule",
        "volumes",
        "secrets",
        "env",
        "min_containers",
        "retries",
    ]
)
calls = st.tuples(
    st.sampled_from(["function", "cls", "server", "local_entrypoint"]),
    st.dictionaries(keywords, expressions, max_size=3),
)


@st.composite
def programs(draw):
    """A file that says much about Modal and little that makes sense."""
    lines = draw(
        st.permutations(
            ["import modal", "import modal as m", "from modal import App, Image, Volume"]
        )
    )
    lines = [
        *lines[: draw(st.integers(1, 3))],
        "app = modal.App()" if draw(st.booleans()) else "x = 1",
    ]
    for name, value in draw(st.lists(st.tuples(names, expressions), max_size=4)):
        lines.append(f"{name} = {value}")
    for method, options in draw(st.lists(calls, max_size=3)):
        arguments = ", ".join(f"{key}={value}" for key, value in options.items())
        body = draw(expressions)
        lines += [
            f"@app.{method}({arguments})",
            f"def f(x, y={draw(constants)}):",
            f"    return {body}",
        ]
    return "\n".join(lines) + "\n"


@QUICK
@given(programs())
def test_no_rule_fails_on_generated_programs(text):
    """Whatever a program says, every rule reads it, and every finding has a place in it."""
    ast.parse(text)
    found = check_source(parse_source("a.py", text), STATIC)
    lines = text.split("\n")
    for one in found:
        assert one.code != "MK990", one.message
        assert 1 <= one.span.line <= one.span.end_line <= len(lines)
        assert 1 <= one.span.column <= len(lines[one.span.line - 1]) + 1
        assert one.source_line == lines[one.span.line - 1]


@QUICK
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    """A text is parsed or refused, and its comments are read or left alone."""
    try:
        source = parse_source("a.py", f"import modal\n{text}")
    except UnreadableError:
        return
    read_ignores(source)
    check_source(source, STATIC)


@QUICK
@given(st.sampled_from(sorted(gpu_catalogue())), st.integers(1, 4))
def test_no_gpu_of_the_catalogue_is_found(name, count):
    """Every spelling of the catalogue, in any case and with a count, passes."""
    for text in (name, f"{name}:{count}", name.lower()):
        source = f'import modal\napp = modal.App("x")\n@app.function(gpu={text!r})\ndef f(): ...\n'
        codes = {one.code for one in check_source(parse_source("a.py", source), STATIC)}
        assert not codes & {"MK101", "MK102", "MK103"}


@QUICK
@given(st.sampled_from(["H1OO", "A1OO", "V100", "RTX4090", "h100x"]), st.sampled_from([
    "app.function", "a.function", "modal.App('y').function",
]), st.booleans())  # fmt: skip
def test_a_wrong_gpu_is_found_however_it_is_written(text, decorator, through_dict):
    """Through aliases, constants and dicts the same string is found once."""
    value = f"options = dict(gpu={text!r})" if through_dict else f"KIND = {text!r}"
    use = "**options" if through_dict else "gpu=KIND"
    source = (
        f"import modal\napp = modal.App('x')\na = app\n{value}\n@{decorator}({use})\ndef f(): ...\n"
    )
    found = check_source(parse_source("a.py", source), STATIC)
    assert [one.code for one in found] == ["MK101"]


@QUICK
@given(programs())
def test_an_ignore_on_every_line_silences_all(text):
    """With a comment that names them on their lines, no finding of a rule over the file is left."""
    found = check_source(parse_source("a.py", text), STATIC)
    by_line: dict[int, set[str]] = {}
    for one in found:
        by_line.setdefault(one.span.line, set()).add(one.code)
    lines = text.split("\n")
    for line, codes in by_line.items():
        if "'" in lines[line - 1] or "\\" in lines[line - 1]:
            return  # a comment sign may be in a string
        lines[line - 1] += f"  # modalkit: ignore[{', '.join(sorted(codes))}] generated"
    assert not check_source(parse_source("a.py", "\n".join(lines)), STATIC)
