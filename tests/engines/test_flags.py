"""Flags that an engine would not take are refused where they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.engines import VLLM, Echo, SGLang, Speculative, Transformers
from modalkit.engines.flags import flag_problems, flag_table, split_flags
from modalkit.errors import DeclarationError

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
TABLES = {name: flag_table(name) for name in ("sglang", "vllm")}


def refused(declared, *arguments, **fields):
    with pytest.raises(DeclarationError) as error:
        declared(extra_args=arguments, **fields)
    return str(error.value)


def objection(declared, **fields):
    try:
        declared(**fields)
    except DeclarationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("engine", "flags"), [("sglang", 532), ("vllm", 321)])
def test_a_table_says_what_it_is(engine, flags):
    """A table holds every flag of one version, and names version, day and source."""
    table = TABLES[engine]
    declared = {"sglang": SGLang, "vllm": VLLM}[engine]
    assert len(table.flags) == flags
    assert table.version == declared().version
    assert table.read_on >= "2026-11-21"
    assert table.source.startswith(engine)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--schedule-polcy", "lpm"),
            "SGLang 0.5.23 has no flag '--schedule-polcy'. Did you mean '--schedule-policy'?",
        ),
        (
            ("--schedule-pol", "lpm"),
            "SGLang 0.5.23 has no flag '--schedule-pol'. Write out '--schedule-policy'.",
        ),
        (
            ("--schedule-policy", "lpn"),
            "SGLang 0.5.23 does not know 'lpn' for '--schedule-policy'. Did you mean 'lpm'?",
        ),
        (("--page-size",), "'--page-size' has no value. Write ('--page-size', '8')."),
        (("--page-size", "x"), "'--page-size' takes a whole number such as '8', got 'x'."),
        (("--page-size=x",), "'--page-size' takes a whole number such as '8', got 'x'."),
        (("--page-size", "1", "2"), "'--page-size' takes one value, got '1 2'."),
        (("--page-size", "1", "--page-size=2"), "'--page-size' is given twice. Write it once."),
        (
            ("--enable-mixed-chunk", "yes"),
            "'--enable-mixed-chunk' is a switch and takes no value, got 'yes'. Write '--enable-mixed-chunk' alone.",
        ),
        (("--cuda-graph-bs-decode=1", "2"), "'--cuda-graph-bs-decode' takes one value, got '1 2'."),
        (
            ("--hicache-ratio", "half"),
            "'--hicache-ratio' takes a number such as '0.9', got 'half'.",
        ),
        (
            ("--forward-hooks", "[}"),
            "'--forward-hooks' takes JSON such as '{\"key\": 1}', got '[}'.",
        ),
        (
            ("64", "--page-size"),
            "It starts with a value that belongs to no flag. Write the flag before it.\nSGLang.extra_args: '--page-size' has no value. Write ('--page-size', '8').",
        ),
        (
            ("--page-size 64",),
            "'--page-size' and what follows it are one string. Write one string per word.",
        ),
        (
            ("--enable-dp-attention",),
            "'--enable-dp-attention' is on its way out. SGLang says: Deprecated. Use --attn-dp-size <dp-size> instead of --dp-size <dp-size> --enable-dp-attention.",
        ),
    ],
)
def test_a_wrong_flag_is_refused_with_what_to_write(arguments, message):
    """Each way to get a flag wrong has a message that says what to write instead."""
    assert refused(SGLang, *arguments) == f"SGLang.extra_args: {message}"


@pytest.mark.parametrize(
    ("declared", "flag", "instead"),
    [
        (SGLang, "--cuda-graph-max-bs", "'--cuda-graph-max-bs-decode'"),
        (SGLang, "--max-context-length", "SGLang(context_length=...)"),
        (SGLang, "--gpu-memory-utilization", "SGLang(memory_fraction=...)"),
        (SGLang, "--enable-ep-moe", "SGLang(expert_parallel=...)"),
        (SGLang, "--torchao-config", "SGLang(quantization=...)"),
        (VLLM, "--task", "VLLM(task='embed')"),
        (VLLM, "--swap-space", "Leave it out"),
        (VLLM, "--guided-decoding-backend", "'--structured-outputs-config'"),
        (VLLM, "--enable-reasoning", "VLLM(reasoning_parser=...)"),
        (VLLM, "--device", "Leave it out"),
        (VLLM, "--mem-fraction-static", "VLLM(memory_fraction=...)"),
        (VLLM, "-O3", "'--optimization-level' with '3'"),
    ],
)
def test_flags_of_older_guides_are_known(declared, flag, instead):
    """A flag that was dropped, or is another engine's, is named with today's spelling."""
    message = refused(declared, flag)
    assert f"has no flag {flag!r}. " in message
    assert instead in message


@pytest.mark.parametrize("engine", TABLES)
def test_every_old_flag_is_old_and_its_remedy_new(engine):
    """No flag is called old that the version has, and no remedy names a flag or field it lacks."""
    table, declared = TABLES[engine], {"sglang": SGLang, "vllm": VLLM}[engine]
    assert not set(table.old_flags) & set(table.by_name)
    values = [text for old in table.old_values.values() for text in old.values()]
    for text in (*table.old_flags.values(), *values):
        for word in text.replace("'", " ").replace(",", " ").split():
            assert not word.startswith("--") or word in table.by_name, text
            if word.startswith(f"{declared.__name__}("):
                assert word.split("(")[1].split("=")[0] in declared.model_fields, text
    for flag, old in table.old_values.items():
        assert not set(old) & set(table.by_name[flag].choices)


@pytest.mark.parametrize(
    ("declared", "fields", "message"),
    [
        (
            SGLang,
            {"tool_parser": "llama4"},
            "SGLang.tool_parser: SGLang 0.5.23 does not know 'llama4' for '--tool-call-parser'. Write 'pythonic' for Llama 4.",
        ),
        (
            VLLM,
            {"tool_parser": "gpt-oss", "reasoning_parser": "qwen"},
            "VLLM.tool_parser: vLLM 0.33.0 does not know 'gpt-oss' for '--tool-call-parser'. That is SGLang's. Write 'openai'.\nVLLM.reasoning_parser: vLLM 0.33.0 does not know 'qwen' for '--reasoning-parser'. Did you mean 'qwen3'?",
        ),
        (
            VLLM,
            {"max_lora_rank": 24, "lora": {"a": "/a"}},
            "VLLM.max_lora_rank: vLLM 0.33.0 does not know '24' for '--max-lora-rank'. It takes 1, 8, 16, 32, 64, 128, 256, 320 or 512.",
        ),
        (
            SGLang,
            {"max_lora_rank": 16},
            "SGLang.max_lora_rank is of no use without lora={'name': 'path'}.",
        ),
        (
            VLLM,
            {"chunked_prefill": False, "prefill_chunk_tokens": 512},
            "vLLM.prefill_chunk_tokens is of no use with chunked_prefill=False. Leave one of them out.",
        ),
        (
            SGLang,
            {"lora": {"my lora": "/a"}},
            "SGLang.lora 'my lora' cannot name an adapter. Write a word without '=', ',' and spaces.",
        ),
        (
            SGLang,
            {"memory_fraction": 90},
            "SGLang.memory_fraction: input should be less than or equal to 1, got 90.",
        ),
    ],
)
def test_a_field_that_cannot_work_is_refused_at_once(declared, fields, message):
    """A typed field is checked when it is written, against the same table."""
    with pytest.raises(DeclarationError) as error:
        declared(**fields)
    assert str(error.value) == message


def test_a_flag_with_a_field_is_refused_in_every_spelling():
    """One idea has one place: a flag that a field decides is not written by hand."""
    for flag in ("--context-length", "--tp", "--tensor-parallel-size", "--tool-call-parser"):
        assert "Write SGLang(" in refused(SGLang, flag, "1")
    for flag in ("-tp", "--no-enable-prefix-caching", "--device-memory-utilization"):
        assert "Write VLLM(" in refused(VLLM, flag, "1")


@pytest.mark.parametrize("engine", TABLES)
def test_every_field_of_the_maps_exists(engine):
    """Each flag a field decides is the version's, and each such field the engine's."""
    declared = {"sglang": SGLang, "vllm": VLLM}[engine]
    decided = {flag: field for field, flag in declared.value_flags.items()}
    for flag, field in {**decided, **declared.set_flags}.items():
        assert flag in TABLES[engine].by_name
        assert field in declared.model_fields


def test_a_flag_that_a_value_already_sets_is_refused_beside_it():
    """Tuning flags of speculative decoding are free until the typed value sets them."""
    tree = ("--speculative-eagle-topk", "4")
    assert SGLang(extra_args=tree)
    message = refused(SGLang, *tree, speculative=Speculative(method="mtp"))
    assert "A field of this engine decides it already" in message


@pytest.mark.parametrize("flag", ["--host", "--port", "--model", "--config", "--help", "-h"])
@pytest.mark.parametrize("declared", [SGLang, VLLM])
def test_what_modalkit_decides_is_not_written(declared, flag):
    """Flags modalkit sets itself are refused, in short and long."""
    assert f"extra_args {flag!r} is not written here." in refused(declared, flag, "1")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--api-key", "sk-secret"),
        ("--api-key=sk-secret",),
        ("--api_key", "sk-secret"),
        ("--api-key sk-secret",),
        ("--hf-token", "sk-secret"),
        ("--hf-tokne", "sk-secret"),
        ("--ssl-keyfile-password", "sk-secret"),
        ("sk-secret",),
    ],
)
@pytest.mark.parametrize("unchecked", [False, True])
@pytest.mark.parametrize("declared", [SGLang, VLLM])
def test_a_secret_is_refused_without_being_shown(declared, arguments, unchecked):
    """Whatever is wrong with a secret's flag, its value is not in the message."""
    said = objection(declared, extra_args=arguments, unchecked_flags=unchecked)
    assert "sk-secret" not in said
    assert said or unchecked


@pytest.mark.parametrize("declared", [SGLang, VLLM, Transformers, Echo])
def test_a_variable_named_like_a_secret_is_refused(declared):
    """Plain variables stand in the plan, so a secret among them is refused unshown."""
    with pytest.raises(DeclarationError) as error:
        declared(env={"HF_TOKEN": "hf-secret"})
    assert "'HF_TOKEN' looks like a secret" in str(error.value)
    assert "hf-secret" not in str(error.value)
    assert declared(env={"TOKENIZERS_PARALLELISM": "false"})


def test_one_string_is_not_an_argument_list():
    """A command line in one string is refused, unshown, with the shape it should have."""
    with pytest.raises(DeclarationError) as error:
        SGLang(extra_args="--api-key sk-secret")
    assert "one string per word" in str(error.value)
    assert "sk-secret" not in str(error.value)


def test_another_version_says_that_it_is_not_checked():
    """Another release needs the explicit word that its flags go unchecked."""
    with pytest.raises(DeclarationError) as error:
        VLLM(version="0.34.0")
    assert str(error.value) == (
        "VLLM(version='0.34.0'): modalkit knows the flags of '0.33.0' (read "
        f"{TABLES['vllm'].read_on}) and cannot check these. Write version='0.33.0', or add "
        "unchecked_flags=True."
    )
    engine = VLLM(version="0.34.0", unchecked_flags=True, extra_args=("--new-flag", "1"))
    assert engine.extra_args == ("--new-flag", "1")
    assert "'--port' is not written here" in refused(VLLM, "--port", "1", unchecked_flags=True)


def test_a_plugin_may_bring_names_of_its_own():
    """With the engine's plugin flag, names that the table lacks are let through."""
    assert VLLM(tool_parser="mine", extra_args=("--tool-parser-plugin", "/mine.py"))
    with pytest.raises(DeclarationError, match="does not know 'mine'"):
        VLLM(tool_parser="mine", extra_args=("--reasoning-parser-plugin", "/mine.py"))


def test_vllm_takes_one_key_of_a_configuration():
    """A flag of vLLM's with a JSON value takes --flag.key, others and other engines' do not."""
    assert VLLM(extra_args=("--compilation-config.mode", "3"))
    assert "has no flag '--max-logprobs.mode'" in refused(VLLM, "--max-logprobs.mode", "3")
    assert "has no flag '--forward-hooks.a'" in refused(SGLang, "--forward-hooks.a", "3")


def test_vllm_needs_an_equals_sign_before_a_negative_fraction():
    """A parser that takes -0.5 for a flag with a key is given the joined form."""
    message = refused(VLLM, "--watermark", "-0.5")
    assert (
        message
        == "VLLM.extra_args: '--watermark' needs '=' before '-0.5'. Write '--watermark=-0.5'."
    )
    assert VLLM(extra_args=("--watermark=-0.5",))


def test_a_missing_weight_of_speculation_is_refused():
    """A method that guesses with weights needs them, and the one without refuses them."""
    for method in ("eagle", "eagle3", "draft_model"):
        with pytest.raises(DeclarationError, match="needs the weights that guess"):
            Speculative(method=method)
    with pytest.raises(DeclarationError, match="guesses without weights"):
        Speculative(method="ngram", draft_model="org/x")


def test_engines_are_values():
    """Engines are compared by what they say, do not change, and survive JSON."""
    engine = SGLang(context_length=4096, speculative=Speculative(method="mtp"), lora={"a": "/a"})
    assert engine == SGLang(**engine.model_dump())
    assert SGLang.model_validate_json(engine.model_dump_json()) == engine
    with pytest.raises(ValueError, match="frozen"):
        engine.context_length = 1


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"--[a-z][a-z-]{0,9}", fullmatch=True),
            st.lists(st.from_regex(r"[a-z0-9./:]{1,9}|-[0-9]{1,3}", fullmatch=True), max_size=3),
        )
    )
)
def test_grouping_a_command_line_loses_nothing(groups):
    """Splitting by flags and joining again gives the same words in the same order."""
    words = [word for name, values in groups for word in (name, *values)]
    given_flags = split_flags(words)
    assert [word for each in given_flags for word in (each.name, *each.values)] == words
    assert [each.name for each in given_flags] == [name for name, _ in groups]


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
