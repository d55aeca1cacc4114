"""Flags that an engine would not take are refused where they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.engines import VLLM, Echo, LoRA, SGLang, Speculative, Transformers
from modalkit.engines.flags import flag_table, split_flags
from modalkit.errors import DeclarationError

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
        (VLLM, "--guided-decoding-backend", "VLLM(structured_output='xgrammar')"),
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
            {"max_lora_rank": 24, "lora": [LoRA("a", "/a")]},
            "VLLM.max_lora_rank: vLLM 0.33.0 does not know '24' for '--max-lora-rank'. It takes 1, 8, 16, 32, 64, 128, 256, 320 or 512.",
        ),
        (
            SGLang,
            {"max_lora_rank": 16},
            "SGLang.max_lora_rank is of no use without lora=[LoRA('name', 'org/name')].",
        ),
        (
            VLLM,
            {"chunked_prefill": False, "prefill_chunk_tokens": 512},
            "VLLM.prefill_chunk_tokens is of no use with chunked_prefill=False. Leave one of them out.",
        ),
        (
            VLLM,
            {"lora": [LoRA("a", "/a"), LoRA("a", "/b")]},
            "VLLM.lora has two adapters 'a'. Give each its own name.",
        ),
        (
            VLLM,
            {"recipe": "qwen-3"},
            "VLLM.recipe 'qwen-3' is not known. Did you mean 'qwen3'?",
        ),
        (
            VLLM,
            {"text_only": True, "multimodal_limits": {"image": 1}},
            "VLLM.multimodal_limits is of no use with text_only=True. Leave one of them out.",
        ),
        (
            VLLM,
            {"structured_output": "none"},
            "VLLM.structured_output 'none' is SGLang's. Leave it out: no request is held to a schema unless it asks.",
        ),
        (
            SGLang,
            {"structured_output": "lm-format-enforcer"},
            "SGLang.structured_output: SGLang 0.5.23 does not know 'lm-format-enforcer' for '--grammar-backend'. It takes xgrammar, outlines, llguidance or none.",
        ),
        (
            VLLM,
            {"lora_folder": "adapters"},
            "VLLM.lora_folder 'adapters' is not an absolute path. Write WeightCache('name').path('adapters').",
        ),
        (
            SGLang,
            {"memory_fraction": 90},
            "SGLang.memory_fraction must be less than or equal to 1, got 90.",
        ),
        (
            VLLM,
            {"multimodal_limits": {"images": 1}},
            "VLLM.multimodal_limits key must be 'image', 'video' or 'audio', got 'images'.",
        ),
        (
            VLLM,
            {"lora": {"a": "org/a"}},
            "VLLM.lora must be a list such as [LoRA('name', 'org/name')], got {'a': 'org/a'}.",
        ),
        (SGLang, {"aliases": "chat"}, "SGLang.aliases must be a list, got 'chat'."),
        (
            SGLang,
            {"chat_template": "chat.jinja"},
            "SGLang.chat_template 'chat.jinja' is not in the container. Write './chat.jinja' for a file beside the service's.",
        ),
    ],
)
def test_a_field_that_cannot_work_is_refused_at_once(declared, fields, message):
    """A typed field is checked when it is written, against the same table."""
    with pytest.raises(DeclarationError) as error:
        declared(**fields)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("declared", "name", "instead"),
    [
        (VLLM, "max_model_len", "Write VLLM(context_length=...)."),
        (VLLM, "limit_mm_per_prompt", "Write VLLM(multimodal_limits=...)."),
        (VLLM, "enable_prefix_caching", "Write VLLM(prefix_caching=...)."),
        (VLLM, "block_size", "Write VLLM(extra_args=('--block-size', ...))."),
        (SGLang, "tp_size", "Write SGLang(tensor_parallel=...)."),
        (SGLang, "mem_fraction_static", "Write SGLang(memory_fraction=...)."),
        (SGLang, "context_lenght", "Did you mean 'context_length'?"),
    ],
)
def test_an_engines_own_name_for_a_field_is_answered_with_ours(declared, name, instead):
    """Whoever writes the flag as a keyword reads which field it is; a misspelt field its nearest."""
    with pytest.raises(DeclarationError) as error:
        declared(**{name: 1})
    assert f"{declared.__name__}.{name} is not a field. {instead} " in str(error.value)


@pytest.mark.parametrize(
    ("declared", "name", "instead"),
    [
        (VLLM, "port", "modalkit chooses the port itself. Leave it out."),
        (VLLM, "host", "modalkit chooses the address itself. Leave it out."),
        (VLLM, "model", "The service says which model. Write model = 'org/name' in its body."),
        (VLLM, "revision", "The service says which commit. Write revision = '...' in its body."),
        (VLLM, "nnodes", "A service runs in one container. Leave it out."),
        (VLLM, "api_key", "Write api = Endpoint(...) in the service."),
        (VLLM, "hf_token", "Write secrets = [Secret(...)] in the service."),
        (SGLang, "model_path", "Write model = 'org/name' in its body."),
        (SGLang, "api_key", "Write api = Endpoint(...) in the service."),
        (SGLang, "admin_api_key", "modalkit sets one."),
        (SGLang, "hf_token", "Write secrets = [Secret(...)] in the service."),
    ],
)
def test_a_name_that_is_decided_elsewhere_is_answered_with_where(declared, name, instead):
    """What extra_args refuses is never offered for it, least of all a key in the command line."""
    with pytest.raises(DeclarationError) as error:
        declared(**{name: 1})
    hint, _, _ = str(error.value).partition(f" {declared.__name__} has ")
    assert hint.startswith(f"{declared.__name__}.{name} is not a field. ")
    assert hint.endswith(instead)
    assert "extra_args" not in hint


@pytest.mark.parametrize("template", ["./chat.jinja", "/models/chat.jinja", "chatml"])
def test_a_chat_template_may_be_a_file_or_one_of_the_engines_own(template):
    """A file beside the service's, one in the container, and a name are each passed on."""
    assert SGLang(chat_template=template).chat_template == template


def test_a_flag_with_a_field_is_refused_in_every_spelling():
    """One idea has one place: a flag that a field decides is not written by hand."""
    for flag in ("--context-length", "--tp", "--tensor-parallel-size", "--tool-call-parser"):
        assert "Write SGLang(" in refused(SGLang, flag, "1")
    for flag in ("-tp", "--no-enable-prefix-caching", "--device-memory-utilization"):
        assert "Write VLLM(" in refused(VLLM, flag, "1")


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


@pytest.mark.parametrize(
    "engine",
    [
        SGLang(context_length=4096, speculative=Speculative(method="mtp"), lora=[LoRA("a", "/a")]),
        VLLM(tool_parser="hermes", extra_args=("--max-logprobs", "5"), env={"A": "b"}),
        Transformers(dtype="float32", context_length=512),
        Echo(delay_ms=1, context_length=64),
    ],
)
def test_engines_are_values(engine):
    """Engines are compared by what they say, do not change, and survive JSON."""
    declared = type(engine)
    assert engine == declared(**engine.model_dump())
    assert declared.model_validate_json(engine.model_dump_json()) == engine
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
