"""The command line of every engine, option by option, and what the real parsers say to it."""

from __future__ import annotations

import argparse

import pytest

from modalkit.engines import VLLM, Echo, Launch, LoRA, SGLang, Speculative, Transformers
from modalkit.errors import DeclarationError
from modalkit.runtime.echo.__main__ import _parser as echo_parser
from modalkit.runtime.openai import add_server_flags
from modalkit.runtime.transformers.options import add_engine_flags

EAGLE = Speculative(method="eagle3", draft_model="org/eagle", draft_tokens=4)
DRAFT = Speculative(method="draft_model", draft_model="org/small", draft_tokens=5)
LORA = (LoRA("sql", "org/sql-lora"), LoRA("law", "/adapters/law"))
LATER = LoRA("later", "org/later-lora", on_demand=True)

SGLANG = [
    ({}, ()),
    ({"task": "embed"}, ("--is-embedding",)),
    ({"context_length": 32_768}, ("--context-length", "32768")),
    ({"pipeline_parallel": 2}, ("--pp-size", "2")),
    ({"data_parallel": 2}, ("--dp-size", "2")),
    ({"expert_parallel": 8}, ("--ep-size", "8")),
    ({"attention_data_parallel": 8}, ("--attn-dp-size", "8")),
    ({"dtype": "bfloat16"}, ("--dtype", "bfloat16")),
    ({"quantization": "fp8"}, ("--quantization", "fp8")),
    ({"kv_cache_dtype": "fp8_e4m3"}, ("--kv-cache-dtype", "fp8_e4m3")),
    ({"memory_fraction": 0.85}, ("--mem-fraction-static", "0.85")),
    ({"max_running_requests": 64}, ("--max-running-requests", "64")),
    ({"prefill_chunk_tokens": 4096}, ("--chunked-prefill-size", "4096")),
    ({"chunked_prefill": True}, ()),
    ({"chunked_prefill": False}, ("--chunked-prefill-size", "-1")),
    ({"prefix_caching": False}, ("--disable-radix-cache",)),
    (
        {"cuda_graphs": False},
        ("--cuda-graph-backend-decode", "disabled", "--cuda-graph-backend-prefill", "disabled"),
    ),
    ({"attention_backend": "fa3"}, ("--attention-backend", "fa3")),
    ({"load_format": "fastsafetensors"}, ("--load-format", "fastsafetensors")),
    ({"tool_parser": "qwen"}, ("--tool-call-parser", "qwen")),
    ({"reasoning_parser": "qwen3"}, ("--reasoning-parser", "qwen3")),
    ({"chat_template": "/chat.jinja"}, ("--chat-template", "/chat.jinja")),
    (
        {"speculative": EAGLE},
        (
            *("--speculative-algorithm", "EAGLE3", "--speculative-draft-model-path", "org/eagle"),
            *("--speculative-num-steps", "4", "--speculative-eagle-topk", "1"),
            *("--speculative-num-draft-tokens", "5"),
        ),
    ),
    (
        {"speculative": DRAFT},
        (
            *("--speculative-algorithm", "STANDALONE"),
            *("--speculative-draft-model-path", "org/small"),
            *("--speculative-num-steps", "5", "--speculative-eagle-topk", "1"),
            *("--speculative-num-draft-tokens", "6"),
        ),
    ),
    (
        {"speculative": Speculative(method="mtp")},
        (
            *("--speculative-algorithm", "NEXTN", "--speculative-num-steps", "3"),
            *("--speculative-eagle-topk", "1", "--speculative-num-draft-tokens", "4"),
        ),
    ),
    (
        {"speculative": Speculative(method="ngram", draft_tokens=8)},
        ("--speculative-algorithm", "NGRAM", "--speculative-num-draft-tokens", "8"),
    ),
    (
        {"lora": LORA},
        ("--enable-lora", "--lora-paths", "sql=org/sql-lora", "law=/adapters/law"),
    ),
    (
        {"lora": [LoRA("a", "/a")], "max_lora_rank": 64},
        ("--max-lora-rank", "64", "--enable-lora", "--lora-paths", "a=/a"),
    ),
    (
        {"lora": LORA[:1], "extra_args": ("--max-loaded-loras", "64")},
        ("--enable-lora", "--lora-paths", "sql=org/sql-lora", "--max-loaded-loras", "64"),
    ),
    (
        {"lora": LORA, "lora_slots": 2},
        (
            *("--max-loras-per-batch", "2"),
            *("--enable-lora", "--lora-paths", "sql=org/sql-lora", "law=/adapters/law"),
        ),
    ),
    ({"task": "rerank"}, ("--is-embedding",)),
    ({"aliases": ("a", "b")}, ()),
    ({"structured_output": "llguidance"}, ("--grammar-backend", "llguidance")),
    (
        {"multimodal_limits": {"video": 0, "image": 2}},
        ("--limit-mm-data-per-request", '{"image": 2, "video": 0}'),
    ),
    ({"text_only": True}, ("--language-model-only",)),
    ({"trust_remote_code": True}, ("--trust-remote-code",)),
    ({"seed": 7}, ("--random-seed", "7")),
    ({"log_level": "warning"}, ("--log-level", "warning")),
    ({"extra_args": ("--page-size", "64")}, ("--page-size", "64")),
    (
        {"extra_args": ("--cuda-graph-bs-decode", "1", "2", "4")},
        ("--cuda-graph-bs-decode", "1", "2", "4"),
    ),
]

VLLM_ROWS = [
    ({}, ()),
    ({"task": "embed"}, ("--runner", "pooling", "--convert", "embed")),
    ({"context_length": 32_768}, ("--max-model-len", "32768")),
    ({"pipeline_parallel": 2}, ("--pipeline-parallel-size", "2")),
    ({"data_parallel": 2}, ("--data-parallel-size", "2")),
    ({"expert_parallel": True}, ("--enable-expert-parallel",)),
    ({"dtype": "bfloat16"}, ("--dtype", "bfloat16")),
    ({"quantization": "fp8"}, ("--quantization", "fp8")),
    ({"kv_cache_dtype": "fp8_e4m3"}, ("--kv-cache-dtype", "fp8_e4m3")),
    ({"memory_fraction": 0.85}, ("--gpu-memory-utilization", "0.85")),
    ({"max_running_requests": 64}, ("--max-num-seqs", "64")),
    ({"prefill_chunk_tokens": 4096}, ("--max-num-batched-tokens", "4096")),
    ({"chunked_prefill": True}, ("--enable-chunked-prefill",)),
    ({"chunked_prefill": False}, ("--disable-chunked-prefill",)),
    ({"prefix_caching": False}, ("--disable-prefix-caching",)),
    ({"cuda_graphs": False}, ("--enforce-eager",)),
    ({"attention_backend": "FLASHINFER"}, ("--attention-backend", "FLASHINFER")),
    ({"load_format": "runai_streamer"}, ("--load-format", "runai_streamer")),
    ({"tool_parser": "hermes"}, ("--tool-call-parser", "hermes", "--enable-auto-tool-choice")),
    ({"reasoning_parser": "qwen3"}, ("--reasoning-parser", "qwen3")),
    ({"chat_template": "/chat.jinja"}, ("--chat-template", "/chat.jinja")),
    (
        {"speculative": EAGLE},
        ("--spec-method", "eagle3", "--spec-model", "org/eagle", "--spec-tokens", "4"),
    ),
    (
        {"speculative": DRAFT},
        ("--spec-method", "draft_model", "--spec-model", "org/small", "--spec-tokens", "5"),
    ),
    (
        {"speculative": Speculative(method="mtp")},
        ("--spec-method", "mtp", "--spec-tokens", "3"),
    ),
    (
        {"speculative": Speculative(method="ngram", draft_tokens=8)},
        ("--spec-method", "ngram", "--spec-tokens", "8"),
    ),
    (
        {"lora": LORA},
        ("--enable-lora", "--lora-modules", "sql=org/sql-lora", "law=/adapters/law"),
    ),
    (
        {"lora": [LoRA("a", "/a")], "max_lora_rank": 64},
        ("--max-lora-rank", "64", "--enable-lora", "--lora-modules", "a=/a"),
    ),
    (
        {"lora": LORA, "lora_slots": 2},
        (
            *("--max-loras", "2"),
            *("--enable-lora", "--lora-modules", "sql=org/sql-lora", "law=/adapters/law"),
        ),
    ),
    ({"lora_folder": "/cache/adapters"}, ("--enable-lora",)),
    ({"lora": [LORA[0], LATER]}, ("--enable-lora", "--lora-modules", "sql=org/sql-lora")),
    ({"lora": [LATER], "lora_slots": 4}, ("--max-loras", "4", "--enable-lora")),
    ({"task": "rerank"}, ("--runner", "pooling")),
    (
        {"structured_output": "llguidance"},
        ("--structured-outputs-config.backend", "guidance"),
    ),
    (
        {"structured_output": "lm-format-enforcer"},
        ("--structured-outputs-config.backend", "lm-format-enforcer"),
    ),
    (
        {"multimodal_limits": {"video": 0, "image": 2}},
        ("--limit-mm-per-prompt", '{"image": 2, "video": 0}'),
    ),
    ({"text_only": True}, ("--language-model-only",)),
    ({"trust_remote_code": True}, ("--trust-remote-code",)),
    ({"seed": 7}, ("--seed", "7")),
    ({"log_level": "warning"}, ("--log-level", "WARNING")),
    ({"extra_args": ("--max-logprobs", "5")}, ("--max-logprobs", "5")),
    (
        {"extra_args": ("--compilation-config.mode", "3")},
        ("--compilation-config.mode", "3"),
    ),
    (
        {"tool_parser": "mine", "extra_args": ("--tool-parser-plugin", "/mine.py")},
        (
            *("--tool-call-parser", "mine", "--enable-auto-tool-choice"),
            *("--tool-parser-plugin", "/mine.py"),
        ),
    ),
]

TRANSFORMERS = [
    ({}, ()),
    ({"task": "embed"}, ("--task", "embed")),
    ({"dtype": "bfloat16"}, ("--dtype", "bfloat16")),
    ({"device": "cuda:1"}, ("--device", "cuda:1")),
    ({"attn_implementation": "sdpa"}, ("--attn-implementation", "sdpa")),
    ({"context_length": 2048}, ("--context-length", "2048")),
    ({"max_batch_size": 16}, ("--max-batch-size", "16")),
    ({"max_waiting": 0}, ("--max-waiting", "0")),
    ({"max_kv_tokens": 65_536}, ("--max-kv-tokens", "65536")),
    ({"prefill_tokens": 512}, ("--prefill-tokens", "512")),
    ({"threads": 2}, ("--threads", "2")),
    ({"trust_remote_code": True}, ("--trust-remote-code",)),
    ({"grace_s": 5}, ("--grace-s", "5")),
]

ECHO = [
    ({}, ()),
    ({"ttft_ms": 20}, ("--ttft-ms", "20.0")),
    ({"delay_ms": 2.5}, ("--delay-ms", "2.5")),
    ({"fail_every": 3}, ("--fail-every", "3")),
    ({"context_length": 100}, ("--context-length", "100")),
    ({"embedding_width": 8}, ("--embedding-width", "8")),
    ({"grace_s": 0}, ("--grace-s", "0")),
]


def named(rows):
    return [
        pytest.param(*row, id=",".join(f"{k}={v}" for k, v in row[0].items())[:60] or "nothing")
        for row in rows
    ]


def launch(**changes):
    return Launch(**{"model": "org/model", "served_name": "name", "gpu_count": 0, **changes})


@pytest.mark.parametrize(("fields", "flags"), named(SGLANG))
def test_sglang_fields_become_its_flags(fields, flags):
    """Each field of SGLang is exactly these words of the command line."""
    assert SGLang(metrics=False, **fields).argv(launch()) == (
        *("python", "-m", "sglang.launch_server", "--model-path", "org/model"),
        *("--served-model-name", "name", "--host", "127.0.0.1", "--port", "8000"),
        *flags,
    )


@pytest.mark.parametrize(("fields", "flags"), named(VLLM_ROWS))
def test_vllm_fields_become_its_flags(fields, flags):
    """Each field of VLLM is exactly these words of the command line."""
    assert VLLM(**fields).argv(launch()) == (
        *("python", "-m", "vllm.entrypoints.cli.main", "serve", "org/model"),
        *("--served-model-name", "name", "--host", "127.0.0.1", "--port", "8000"),
        *("--shutdown-timeout", "20"),
        *flags,
    )


@pytest.mark.parametrize(("fields", "flags"), named(TRANSFORMERS))
def test_transformers_fields_become_its_flags(fields, flags):
    """Each field of Transformers is exactly these words of the command line."""
    assert Transformers(**fields).argv(launch()) == (
        *("python", "-m", "modalkit.runtime.transformers", "--model", "org/model"),
        *("--host", "127.0.0.1", "--port", "8000", "--served-model-name", "name"),
        *flags,
    )


@pytest.mark.parametrize(("fields", "flags"), named(ECHO))
def test_echo_fields_become_its_flags(fields, flags):
    """Each field of Echo is exactly these words of the command line."""
    assert Echo(**fields).argv(launch()) == (
        *("python", "-m", "modalkit.runtime.echo"),
        *("--host", "127.0.0.1", "--port", "8000", "--served-model-name", "name"),
        *flags,
    )


@pytest.mark.parametrize("engine", [SGLang(), VLLM(), Transformers(), Echo()])
def test_where_to_listen_comes_from_the_launch(engine):
    """Address, port, name and commit are the launch's, not the engine's."""
    argv = engine.argv(launch(host="0.0.0.0", port=9000, revision="abc"))
    words = " ".join(argv)
    assert "--host 0.0.0.0 --port 9000" in words
    assert "--served-model-name name" in words
    assert ("--revision abc" in words) == engine.needs_model


def test_a_served_name_of_the_engine_wins():
    """An engine that declares a name serves under it."""
    for engine in (SGLang, VLLM, Transformers, Echo):
        assert "mine" in engine(served_name="mine").argv(launch())


def test_sglang_serves_metrics_unless_told_not_to():
    """SGLang has /metrics only behind a flag, which is given by default."""
    assert SGLang().argv(launch())[-1] == "--enable-metrics"


@pytest.mark.parametrize(
    ("engine", "gpus", "size"),
    [
        (SGLang(), 4, 4),
        (VLLM(), 8, 8),
        (VLLM(pipeline_parallel=2), 8, 4),
        (SGLang(data_parallel=2, pipeline_parallel=2), 8, 2),
        (VLLM(tensor_parallel=2), 8, 2),
    ],
)
def test_tensor_parallelism_fills_the_container(engine, gpus, size):
    """Tensor parallelism is what the other kinds leave of the container's GPUs."""
    argv = engine.argv(launch(gpu_count=gpus))
    flag = "--tp-size" if engine.title == "SGLang" else "--tensor-parallel-size"
    assert argv[argv.index(flag) + 1] == str(size)


@pytest.mark.parametrize("engine", [SGLang(), VLLM(), VLLM(data_parallel=2)])
def test_one_gpu_a_model_needs_no_flag(engine):
    """A model on one GPU, or on none, is not split."""
    gpus = engine.data_parallel or 1
    assert engine.argv(launch(gpu_count=gpus)) == engine.argv(launch(gpu_count=0))


@pytest.mark.parametrize(
    ("engine", "gpus", "message"),
    [
        (
            SGLang(tensor_parallel=4),
            2,
            "SGLang: tensor_parallel=4 needs 4 GPUs, the container has 2. Write GPUProfile(..., count=4) or ask for less.",
        ),
        (
            VLLM(data_parallel=3),
            4,
            "vLLM: data_parallel=3 needs a multiple of 3 GPUs, the container has 4. Write GPUProfile(..., count=3) or ask for less.",
        ),
    ],
)
def test_parallelism_that_does_not_fit_is_refused(engine, gpus, message):
    """More GPUs than the container has, or a number it does not divide into, is an error."""
    with pytest.raises(DeclarationError) as refused:
        engine.argv(launch(gpu_count=gpus))
    assert str(refused.value) == message


def test_a_key_never_stands_in_a_command_line():
    """Where requests reach an engine directly, its argv names the door and no key."""
    keyed = launch(door=True)
    assert SGLang().argv(keyed)[:7] == (
        *("python", "-m", "modalkit.runtime.keyed"),
        "--door=sglang.srt.entrypoints.http_server:app",
        *("--key-flag=--api-key", "--admin-key-flag=--admin-api-key", "sglang.launch_server"),
    )
    assert {"--api-key", "--admin-api-key"} <= set(SGLang.table().by_name)
    own = ("--middleware", "my.Own")
    door = ("--middleware", "modalkit.runtime.door.EngineDoor")
    assert VLLM(extra_args=own).argv(keyed) == (*VLLM(extra_args=own).argv(launch()), *door)
    assert VLLM.child_key_variable == "VLLM_API_KEY"
    for engine in (Transformers(), Echo()):
        assert engine.argv(keyed) == engine.argv(launch())
        assert engine.takes_door


def test_vllm_does_not_open_admin_routes_to_the_world():
    """Development routes ask for no key, so they are refused where no gateway stands in front."""
    engine = VLLM(env={"VLLM_SERVER_DEV_MODE": "1"})
    assert engine.argv(launch())
    with pytest.raises(DeclarationError, match=r"serves /sleep, .* Endpoint\(kind='web'\)"):
        engine.argv(launch(door=True))
    assert VLLM(env={"VLLM_SERVER_DEV_MODE": "0"}).argv(launch(door=True))


def test_sglang_has_one_server_where_the_door_stands_in_it():
    """Flags that serve in another way are refused where requests reach SGLang directly."""
    engine = SGLang(extra_args=("--tokenizer-worker-num", "2"))
    assert engine.argv(launch())
    with pytest.raises(DeclarationError, match=r"starts another server .* Endpoint\(kind='web'\)"):
        engine.argv(launch(door=True))


@pytest.mark.parametrize(("engine", "rows"), [("transformers", TRANSFORMERS), ("echo", ECHO)])
def test_own_servers_take_what_their_engines_emit(engine, rows):
    """The real parsers of modalkit's servers accept every command line and read it back."""
    parser = own_parser(engine)
    declared = {"transformers": Transformers, "echo": Echo}[engine]
    for fields, _ in rows:
        keyed = launch(door=True, revision="abc" if engine != "echo" else None)
        parsed = parser.parse_args(declared(**fields).argv(keyed)[3:])
        assert parsed.served_model_name == "name"
        assert parsed.api_key_env is None
        for field, value in fields.items():
            assert getattr(parsed, field) == value


def own_parser(engine):
    if engine == "echo":
        return echo_parser()
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_server_flags(parser)
    add_engine_flags(parser)
    return parser


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_the_real_parser_takes_what_the_engine_emits(engine, real_parser):
    """The engine's own parser accepts every command line of the table above, however it is started."""
    declared, rows, skip = {"sglang": (SGLang, SGLANG, 3), "vllm": (VLLM, VLLM_ROWS, 4)}[engine]
    lines = [
        declared(**fields).argv(launch(gpu_count=gpus, revision="abc"))[skip:]
        for fields, _ in rows
        for gpus in (0, 8)
    ]
    for how in ({"snapshot": True}, {"from_volume": True}, {"door": True}):
        for fields in ({}, {"load_format": "fastsafetensors"}):
            argv = declared(**fields).argv(launch(**how))
            begins = argv.index("sglang.launch_server") + 1 if engine == "sglang" else skip
            lines.append(argv[begins:])
    verdicts = zip(lines, real_parser(engine, lines), strict=True)
    assert [(line, verdict) for line, verdict in verdicts if verdict] == []


# What a tiny dense Llama cannot be asked for; each needs a model that has it.
OTHER_MODELS = {
    "sglang": {"attention_data_parallel", "text_only"},
    "vllm": {"expert_parallel", "mtp"},
}


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_the_engine_resolves_what_is_emitted(engine, real_parser, tiny_model):
    """After parsing, the engine's own checks and defaults accept it too, as far as no GPU is asked."""
    declared, rows, skip = {"sglang": (SGLang, SGLANG, 3), "vllm": (VLLM, VLLM_ROWS, 4)}[engine]
    here = {
        **dict.fromkeys(("org/eagle", "org/small"), str(tiny_model)),
        "/chat.jinja": str(tiny_model / "chat_template.jinja"),
        "32768": "512",
    }
    lines = [
        [
            here.get(word, word)
            for word in declared(**fields).argv(launch(model=str(tiny_model), gpu_count=0))[skip:]
        ]
        for fields, _ in rows
    ]
    verdicts = real_parser(engine, lines, "--resolve")
    refused = [
        {"mtp"} if "mtp" in str(fields) else set(fields)
        for (fields, _), verdict in zip(rows, verdicts, strict=True)
        if verdict
    ]
    assert set().union(*refused) == OTHER_MODELS[engine], verdicts
