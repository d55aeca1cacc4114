"""The flag tables: true to the engines' own parsers, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.engines import VLLM, SGLang
from modalkit.engines.flags import flag_problems, flag_table

TABLES = {name: flag_table(name) for name in ("sglang", "vllm")}
DECLARED = {"sglang": SGLang, "vllm": VLLM}
EXAMPLES = {
    "text": ("words",),
    "int": ("8", "-1"),
    "size": ("4096", "4k", "1.5k", "2M", "1K"),
    "iec_size": ("4096", "4k", "1.5k", "2M", "1Ki"),
    "float": ("0.5", "1", ".5", "1e-3"),
    "json": ("{}",),
}
NOT = {
    "int": ("x", "1.5"),
    "size": ("x", "1.5K", "1Ki"),
    "iec_size": ("x", "1K", "1.5Ki"),
    "float": ("x", "1,5"),
    "json": ("[}", "words"),
}


@pytest.mark.parametrize(("engine", "flags"), [("sglang", 532), ("vllm", 321)])
def test_a_table_says_what_it_is(engine, flags):
    """A table holds every flag of one version, and names version, day and source."""
    table = TABLES[engine]
    declared = DECLARED[engine]
    assert len(table.flags) == flags
    assert table.version == declared().version
    assert table.read_on >= "2026-11-21"
    assert table.source.startswith(engine)


@pytest.mark.parametrize("engine", TABLES)
def test_every_old_flag_is_old_and_its_remedy_new(engine):
    """No flag is called old that the version has, and no remedy names a flag or field it lacks."""
    table, declared = TABLES[engine], DECLARED[engine]
    assert not set(table.old_flags) & set(table.by_name)
    values = [text for old in table.old_values.values() for text in old.values()]
    for text in (*table.old_flags.values(), *values):
        for word in text.replace("'", " ").replace(",", " ").split():
            assert not word.startswith("--") or word in table.by_name, text
            if word.startswith(f"{declared.__name__}("):
                assert word.split("(")[1].split("=")[0] in declared.model_fields, text
    for flag, old in table.old_values.items():
        assert not set(old) & set(table.by_name[flag].choices)


@pytest.mark.parametrize("engine", TABLES)
def test_every_field_of_the_maps_exists(engine):
    """Each flag a field decides is the version's, and each such field the engine's."""
    declared = DECLARED[engine]
    decided = {flag: field for field, flag in declared.value_flags.items()}
    for flag, field in {**decided, **declared.set_flags}.items():
        assert flag in TABLES[engine].by_name
        assert field in declared.model_fields


def written(flag):
    """A flag with values it takes, in several ways."""
    name = st.sampled_from(flag.names)
    value = st.sampled_from(flag.choices or EXAMPLES[flag.kind])
    alone = name.map(lambda n: (n,))
    one = st.tuples(name, value)
    joined = st.builds(lambda n, v: (f"{n}={v}",), name, value)
    several = st.builds(lambda n, v: (n, *v), name, st.lists(value, min_size=1, max_size=3))
    ways = {
        "nothing": [alone],
        "one": [one, joined],
        "maybe": [alone, one, joined],
        "some": [one, joined, several],
        "any": [alone, one, joined, several],
    }
    return st.one_of(ways[flag.takes])


@pytest.mark.parametrize("engine", TABLES)
@given(data=st.data())
def test_what_the_table_allows_is_let_through(engine, data):
    """Any flags of the table, once each and with values they take, raise no objection."""
    table = TABLES[engine]
    flags = st.sampled_from([flag for flag in table.flags if not flag.deprecated])
    chosen = data.draw(st.lists(flags, unique_by=lambda flag: flag.names, max_size=6))
    words = [word for flag in chosen for word in data.draw(written(flag))]
    assert list(flag_problems(words, table)) == []


def lines_of(engine, examples):
    """A command line per flag and example, without flags whose values are acted upon at once."""
    acts = {"--help", "--config", "--log-config-file", "--lora-modules"}
    head = ["model"] if engine == "vllm" else ["--model-path", "model"]
    return [
        (*head, flag.names[-1], *values)
        for flag in TABLES[engine].flags
        if not acts & set(flag.names) and "--model" not in flag.names
        for values in examples(flag)
    ]


@pytest.mark.engines
@pytest.mark.parametrize("engine", TABLES)
def test_the_real_parser_agrees_with_every_row(engine, real_parser):
    """Whatever a row of the table allows, the engine's own parser takes."""

    def allowed(flag):
        if flag.takes == "nothing":
            return [()]
        return [(value,) for value in flag.choices or EXAMPLES[flag.kind]]

    lines = lines_of(engine, allowed)
    verdicts = zip(lines, real_parser(engine, lines), strict=True)
    assert [(line, verdict) for line, verdict in verdicts if verdict] == []


@pytest.mark.engines
@pytest.mark.parametrize("engine", TABLES)
def test_the_real_parser_refuses_what_a_row_refuses(engine, real_parser):
    """Whatever a row of the table refuses, the engine's own parser refuses too."""

    def wrong(flag):
        if flag.takes == "nothing":
            return [("value",)] if engine == "sglang" else []
        if flag.choices:
            return [] if flag.parser_takes_any else [("no-such-value",)]
        return [
            *([()] if flag.takes in {"one", "some"} else []),
            *((v,) for v in NOT.get(flag.kind, ())),
        ]

    lines = lines_of(engine, wrong)
    verdicts = zip(lines, real_parser(engine, lines), strict=True)
    assert [line for line, verdict in verdicts if verdict is None] == []
