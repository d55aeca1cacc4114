"""What an engine declares decides what its GPUs hold: each case fits with it and not without, or the reverse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit import (
    VLLM,
    GPUProfile,
    LoRA,
    ModelService,
    Scaling,
    SGLang,
    Transformers,
)
from modalkit.declare.gpu import gpu_catalogue
from modalkit.engines.base import Engine
from modalkit.engines.speculative import Speculative
from modalkit.errors import PlanError, SizingError
from modalkit.fitting import demand_of, fit_service
from modalkit.lock import LockedFile, LockedModel
from modalkit.plan import plan_service
from modalkit.sizing.demand import Demand
from modalkit.sizing.fit import Pick
from modalkit.sizing.model import GIB, ModelFacts, model_facts
from modalkit.sizing.splits import Parallelism

QWEN_8B = {
    "model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288, "head_dim": 128,
    "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 151936, "max_position_embeddings": 40960, "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}  # fmt: skip
LLAMA_70B = {
    "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
    "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    "vocab_size": 128256, "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}  # fmt: skip
FOURTEEN_HEADS = {**QWEN_8B, "num_attention_heads": 14, "num_key_value_heads": 2}
# As Qwen3-235B-A22B-FP8: 1536 wide experts do not part into blocks of 128 over 8 ranks.
EXPERTS_FP8 = {
    "model_type": "qwen3_moe", "hidden_size": 4096, "intermediate_size": 12288, "head_dim": 128,
    "num_hidden_layers": 94, "num_attention_heads": 64, "num_key_value_heads": 4,
    "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1536,
    "vocab_size": 151936, "max_position_embeddings": 40960, "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


def service(engine: Engine, **body: object) -> type[ModelService]:
    """A service with an engine."""
    return type("Chat", (ModelService,), {"model": "org/model", "engine": engine, **body})


def facts(config: dict[str, object] = QWEN_8B, **changed: object) -> ModelFacts:
    """A model's facts."""
    return model_facts({**config, **changed}, name="org/model")


def asked(engine: Engine, config: dict[str, object] = QWEN_8B, **body: object) -> Demand:
    """What an engine asks of its GPUs; two requests at once unless said otherwise."""
    body.setdefault("scaling", Scaling(concurrency=2))
    return demand_of(service(engine, **body), facts(config))


def on(choice: str, demand: Demand) -> Pick:
    """How it sits on a choice."""
    profile = GPUProfile(choice)
    return demand.on(gpu_catalogue()[profile.gpu], profile.count)


SHORT = {"context_length": 4096}


@pytest.mark.parametrize(
    ("choice", "config", "fitting", "failing", "said"),
    [
        # 14 heads: over four ranks they do not divide, over two stages of two they do.
        ("H100:4", FOURTEEN_HEADS, VLLM(pipeline_parallel=2, **SHORT), VLLM(**SHORT), "divide"),
        ("H100:4", FOURTEEN_HEADS, SGLang(pipeline_parallel=2, **SHORT), SGLang(**SHORT), "divide"),
        # Two copies need twice the room of two ranks.
        ("H200:2", LLAMA_70B, VLLM(**SHORT), VLLM(data_parallel=2, **SHORT), "short of"),
        ("H200:2", LLAMA_70B, SGLang(**SHORT), SGLang(data_parallel=2, **SHORT), "short of"),
        ("H200:2", LLAMA_70B, VLLM(**SHORT), VLLM(tensor_parallel=1, **SHORT), "short of"),
        ("H200:8", EXPERTS_FP8, VLLM(expert_parallel=True), VLLM(), "only whole; expert parallelism"),
        ("H200:8", EXPERTS_FP8, SGLang(expert_parallel=8), SGLang(), "only whole"),
        ("H200:8", EXPERTS_FP8, SGLang(expert_parallel=2), SGLang(expert_parallel=1), "only whole"),
        ("L4", QWEN_8B, VLLM(**SHORT), VLLM(memory_fraction=0.8, **SHORT), "short of"),
        ("L4", QWEN_8B, SGLang(memory_fraction=0.9, **SHORT), SGLang(memory_fraction=0.7, **SHORT), "short"),
        ("L4", QWEN_8B, SGLang(prefill_chunk_tokens=2048, **SHORT), SGLang(**SHORT), "short of"),
        ("L40S", QWEN_8B, VLLM(**SHORT), VLLM(prefill_chunk_tokens=524_288, **SHORT), "short of"),
        ("L4", QWEN_8B, VLLM(kv_cache_dtype="fp8", context_length=8192), VLLM(context_length=8192), "short"),
        ("L4", QWEN_8B, VLLM(quantization="fp8", context_length=24_576), VLLM(context_length=24_576), "short"),
        ("L4", QWEN_8B, SGLang(quantization="bitsandbytes", **SHORT), SGLang(**SHORT), "short of"),
        ("L4", QWEN_8B, VLLM(**SHORT), VLLM(dtype="float32", **SHORT), "short of"),
        ("L4", QWEN_8B, VLLM(**SHORT), VLLM(context_length=40_960), "short of"),
        ("L4", QWEN_8B, VLLM(extra_args=("--cpu-offload-gb", "8"), context_length=16_384), VLLM(context_length=16_384), "short"),
        ("L4", QWEN_8B, VLLM(**SHORT), VLLM(lora=[LoRA("a", "org/a")], lora_slots=8, max_lora_rank=256, **SHORT), "short"),
        ("L4:2", QWEN_8B, VLLM(**SHORT), Transformers(context_length=40_960), "short of"),
    ],
)  # fmt: skip
def test_what_is_declared_decides(choice, config, fitting, failing, said):
    """Splits, shares of memory, chunks, number formats, adapters: each changes whether a model fits."""
    assert on(choice, asked(fitting, config)).problem == ""
    assert said in on(choice, asked(failing, config)).problem


@pytest.mark.parametrize(
    ("engine", "choice", "said"),
    [
        (VLLM(memory_fraction=0.4, **SHORT), "L40S", "memory_fraction=0.44 (--gpu-memory-utilization)"),
        (SGLang(memory_fraction=0.3, **SHORT), "L40S", "memory_fraction=0.37 (--mem-fraction-static)"),
    ],
)  # fmt: skip
def test_a_share_that_is_too_small_is_told_with_the_one_that_makes_room(engine, choice, said):
    """The problem names the share to declare; declared, it is one no longer."""
    found = on(choice, asked(engine))
    assert f"; {said} makes room" in found.problem
    enough = engine.model_copy(update={"memory_fraction": found.memory_fraction})
    assert on(choice, asked(enough)).problem == ""


def test_no_share_helps_where_the_weights_do_not_fit_before_they_are_quantised():
    """SGLang reads all weights first: what a share would hold afterwards is not proposed."""
    engine = SGLang(quantization="fp8", memory_fraction=0.5, **SHORT)
    found = on("RTX-PRO-6000", asked(engine, LLAMA_70B))
    assert "while it loads" in found.problem
    assert found.memory_fraction is None


def test_fewer_requests_at_once_take_less():
    """Requests that the engine does not decode together wait, and keep no cache; each copy decodes its own."""
    many = Scaling(concurrency=64)
    assert "short of" in on("L4", asked(VLLM(**SHORT), scaling=many)).problem
    few = asked(VLLM(max_running_requests=2, **SHORT), scaling=many)
    assert on("L4", few).problem == ""
    assert few.load.concurrency == 2
    copies = asked(VLLM(max_running_requests=2, data_parallel=4), scaling=many)
    assert copies.load.concurrency == 8


def test_a_recipes_fields_count():
    """What a recipe fills in for a model family is sized like what is declared."""
    llama_4 = asked(SGLang(recipe="llama-4"), model="meta-llama/Llama-4-Scout-17B-16E-Instruct")
    assert llama_4.load.context == 65_536


def test_attention_copies_are_spread_within_the_ranks():
    """SGLang's copies of the attention share the experts and part the requests."""
    split = on(
        "H200:8", asked(SGLang(attention_data_parallel=8, expert_parallel=8), EXPERTS_FP8)
    ).split
    assert (split.tensor, split.data, split.expert) == (1, 8, 8)
    refused = on("H200:4", asked(SGLang(attention_data_parallel=3), EXPERTS_FP8))
    assert "3 copies of the attention do not divide 4 ranks" in refused.problem


def test_sglangs_copies_have_their_own_experts_and_vllms_share_them():
    """Two copies of four ranks: SGLang parts the experts over four, vLLM over eight."""
    ours = asked(SGLang(data_parallel=2, expert_parallel=4), EXPERTS_FP8)
    assert on("H200:8", ours).split.expert == 4
    shared = asked(VLLM(data_parallel=2, expert_parallel=True), EXPERTS_FP8)
    assert on("H200:8", shared).split.expert == 8


# ── what guesses ahead ──────────────────────────────────────────────────────────────────────────


def locked(size_gib: float, known: ModelFacts | None = None) -> LockedModel:
    """A locked draft model."""
    file = LockedFile(name="model.safetensors", size=round(size_gib * GIB))
    return LockedModel(id="org/draft", commit="0" * 40, files=(file,), facts=known)


def test_a_draft_model_takes_its_room():
    """Its weights and its cache count as soon as a lock knows them."""
    guess = Speculative(method="draft_model", draft_model="org/draft")
    of = service(VLLM(speculative=guess, **SHORT), scaling=Scaling(concurrency=2))
    plain = service(VLLM(**SHORT), scaling=Scaling(concurrency=2))
    assert on("L4", demand_of(plain, facts())).problem == ""
    heavy = demand_of(of, facts(), [locked(4, facts(num_hidden_layers=8))])
    assert "short of" in on("L4", heavy).problem
    lines = {line.what: line.bytes for line in on("H100", heavy).breakdown.lines}
    assert lines["what guesses ahead"] > 4 * GIB
    assert heavy.uncounted == ()


def test_a_draft_model_that_nobody_knows_is_named():
    """Without a lock the plan says that it is not counted, and what to run."""
    guess = Speculative(method="eagle3", draft_model="org/draft")
    of = service(VLLM(speculative=guess))
    said = demand_of(of, facts()).uncounted[0]
    assert "org/draft is not counted" in said
    assert said.endswith(f"run: modalkit lock {Path(__file__).relative_to(Path.cwd())}")
    sized = demand_of(of, facts(), [locked(2)])
    assert sized.uncounted == ()
    assert (sized.load.draft_bytes, len(sized.load.draft_layers)) == (2 * GIB, 1)


def test_copies_of_the_prompt_need_no_weights():
    """``ngram`` adds nothing."""
    found = asked(VLLM(speculative=Speculative(method="ngram")))
    assert (found.load.draft_bytes, found.load.draft_layers, found.uncounted) == (0, (), ())


@pytest.mark.parametrize("method", ["ngram", "mtp"])
def test_what_guesses_gain_is_said_with_its_range(method: str):
    """Speeds leave it out; from one token a step to all guesses and one more, and nobody has checked."""
    found = asked(VLLM(speculative=Speculative(method=method, draft_tokens=4))).unsped
    assert len(found) == 1
    assert "1 to 5 tokens" in found[0]
    assert "unchecked" in found[0]
    assert asked(VLLM()).unsped == ()


LARGE_FP8 = [
    (SGLang(quantization="fp8", **SHORT), "H100", "while it loads"),
    (SGLang(quantization="fp8", **SHORT), "H100:2", ""),
    (SGLang(quantization="fp8", **SHORT), "B200", ""),
    (SGLang(quantization="fp8", load_format="layered", **SHORT), "H100", ""),
    (VLLM(quantization="fp8", **SHORT), "H100", ""),
]


@pytest.mark.parametrize(("engine", "choice", "said"), LARGE_FP8)
def test_weights_must_fit_before_they_are_quantised_where_all_are_read_first(
    engine: Engine, choice: str, said: str
):
    """70B in fp8 sits on a card that SGLang cannot read its 16-bit files onto; vLLM goes layer by layer."""
    smaller = {**LLAMA_70B, "num_hidden_layers": 60}
    problem = on(choice, asked(engine, smaller)).problem
    assert (said in problem) if said else problem == ""


# ── the model's own context ─────────────────────────────────────────────────────────────────────

LONG = 100_000


@pytest.mark.parametrize(
    ("changed", "engine", "works"),
    [
        ({}, VLLM(context_length=LONG), False),
        ({}, SGLang(context_length=LONG), False),
        ({}, VLLM(context_length=40_960), True),
        ({"rope_scaling": YARN}, VLLM(context_length=LONG), True),
        ({"rope_scaling": YARN}, VLLM(context_length=131_073), False),
        ({"rope_parameters": {**YARN, "rope_theta": 1e6}}, VLLM(context_length=LONG), True),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, VLLM(context_length=LONG), True),
        # The positions are the stretched ones already.
        ({"rope_scaling": {**YARN, "rope_type": "llama3"}}, VLLM(context_length=LONG), False),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 4.0}}, VLLM(context_length=LONG), False),
        ({}, VLLM(context_length=LONG, extra_args=("--hf-overrides", json.dumps({"rope_parameters": YARN}))), True),
        ({}, SGLang(context_length=LONG, extra_args=("--json-model-override-args", json.dumps({"max_position_embeddings": LONG}))), True),
        ({}, VLLM(context_length=LONG, env={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}), True),
        ({}, VLLM(context_length=LONG, env={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "0"}), False),
    ],
)  # fmt: skip
def test_a_context_beyond_the_models_own_is_a_problem(changed, engine, works):
    """The engine would refuse to start; a rope scaling that stretches the positions makes room."""
    found = on("H200:8", asked(engine, {**QWEN_8B, **changed}))
    wanted = "" if works else f"tokens are more than the {facts(**changed).max_context:,} that"
    assert found.problem == "" if works else wanted in found.problem


def test_a_context_that_the_config_does_not_name_is_held_against_nobody():
    """An architecture's default is no word of this model's."""
    silent = {name: value for name, value in QWEN_8B.items() if name != "max_position_embeddings"}
    assert (
        "model was made for" not in on("H200:8", asked(VLLM(context_length=LONG), silent)).problem
    )


def test_a_fit_beyond_the_models_own_context_says_so():
    """Not one card is at fault, and the message says what to write."""
    with pytest.raises(
        SizingError, match=r"100,000 tokens are more than the 40,960 .* context=40960"
    ):
        fit_service(service(VLLM(), gpu=GPUProfile.fit(context=LONG)), facts())


# ── fits ────────────────────────────────────────────────────────────────────────────────────────


def fitted(engine: Engine, config: dict[str, object] = QWEN_8B, **wishes: object) -> str:
    """The first choice of a fit."""
    of = service(engine, gpu=GPUProfile.fit(**{"context": 4096, "concurrency": 2, **wishes}))
    return str(fit_service(of, facts(config)).profile)


def test_a_fit_keeps_to_what_the_engine_is_told():
    """A smaller share of each card, copies, stages and quantised weights each lead to another choice."""
    assert fitted(VLLM()) == "L4"
    assert fitted(VLLM(memory_fraction=0.7)) != "L4"
    assert fitted(VLLM(data_parallel=2)).endswith(":2")
    assert fitted(VLLM(pipeline_parallel=2)).endswith(":2")
    assert fitted(VLLM(), LLAMA_70B, prefer_fewer=True) == "B200"
    assert fitted(VLLM(quantization="fp8"), LLAMA_70B, prefer_fewer=True) == "RTX-PRO-6000"


def test_a_fits_container_starts_with_its_splits():
    """The plan of a fitted service has the tensor parallelism that its stages leave."""
    from modalkit.lock import LockedService

    of = service(VLLM(pipeline_parallel=2), gpu=GPUProfile.fit(context=4096))
    plan = plan_service(of, LockedService(gpu=("H100:4",)))
    assert plan.engine is not None
    flags = dict(zip(plan.engine.argv, plan.engine.argv[1:], strict=False))
    assert (flags["--tensor-parallel-size"], flags["--pipeline-parallel-size"]) == ("2", "2")


def test_fewer_gpus_are_explained():
    """With ``prefer_fewer`` every cheaper choice that fits on more GPUs is named with its reason."""
    of = service(VLLM(), gpu=GPUProfile.fit(context=8192, prefer_fewer=True))
    found = fit_service(of, facts(LLAMA_70B))
    assert found.chosen[0].count == 1
    lines = list(found.explain(cheaper_only=True))
    cheaper = [line for line in lines if "prefer_fewer asks for fewer" in line]
    assert any(line.startswith("RTX-PRO-6000:2 at $") for line in cheaper)
    without = service(VLLM(), gpu=GPUProfile.fit(context=8192))
    assert not any(
        "prefer_fewer" in line for line in fit_service(without, facts(LLAMA_70B)).explain()
    )


def test_a_fit_that_is_too_long_names_the_field_it_is_said_in():
    """The engine's length is its own field's; where the wish says one, that counts."""
    engine = VLLM(context_length=LONG)
    with pytest.raises(SizingError, match=r"Write context_length=40960 or less"):
        fit_service(service(engine, gpu=GPUProfile.fit()), facts())
    dear = GPUProfile.fit(max_usd_per_hour=0.1)
    with pytest.raises(SizingError, match=r"Lower context_length= or concurrency="):
        fit_service(service(VLLM(**SHORT), gpu=dear), facts())
    with pytest.raises(SizingError, match=r"Lower context= or concurrency="):
        fit_service(service(VLLM(), gpu=dear), facts())


def test_fewer_requests_than_a_fit_asks_for_contradict_it():
    """An engine that decodes 4 together cannot hold a fit for 32; copies decode their own."""
    wish = GPUProfile.fit(concurrency=32)
    with pytest.raises(PlanError, match=r"answers 4 requests at once, fewer than .*concurrency=32"):
        plan_service(service(VLLM(max_running_requests=4), gpu=wish))
    copies = service(VLLM(max_running_requests=8, data_parallel=4), gpu=wish)
    with pytest.raises(PlanError, match="not locked"):
        plan_service(copies)


def test_what_has_no_place_in_the_arithmetic_is_named():
    """Flags and methods that change memory in ways nobody works out are said, not passed over."""
    told = asked(VLLM(extra_args=("--kv-cache-memory-bytes", "4G")))
    assert told.uncounted == ("--kv-cache-memory-bytes is not counted",)
    assert "quantization='awq' is not counted" in asked(VLLM(quantization="awq")).uncounted[0]
    assert asked(VLLM()).uncounted == ()
    (slow,) = asked(VLLM(extra_args=("--cpu-offload-gb", "8"))).uncounted
    assert slow.startswith("--cpu-offload-gb is counted in memory and not in speed")
    assert asked(VLLM(extra_args=("--cpu-offload-gb", "0"))).uncounted == ()


def test_a_fit_tells_what_it_does_not_count():
    """Its GPUs are chosen without what has no place in the arithmetic; that is told beside them."""
    wish = GPUProfile.fit(context=4096)
    flags = ("--kv-cache-memory-bytes", "4G")
    told = fit_service(service(VLLM(extra_args=flags), gpu=wish), facts())
    assert told.uncounted == ("--kv-cache-memory-bytes is not counted",)
    assert fit_service(service(VLLM(), gpu=wish), facts()).uncounted == ()


def test_a_prompt_that_is_not_cut_is_read_whole():
    """Windows hold it whole with either engine; SGLang's own reserve takes it for 2,048 tokens."""
    cut = {"chunked_prefill": False, "context_length": 8192}
    for engine, reserved in ((VLLM(**cut), 8192), (SGLang(**cut), 2048)):
        found = asked(engine)
        assert (found.load.batched_tokens, found.serving.chunk_tokens) == (8192, reserved)
    pieces = asked(SGLang(prefill_chunk_tokens=1024, context_length=8192))
    assert (pieces.load.batched_tokens, pieces.serving.chunk_tokens) == (1024, 1024)


def test_weights_that_are_widened_are_called_what_they_are():
    """A float32 checkpoint that stays so has float32 weights in the table, not 16-bit ones."""
    wide = {**QWEN_8B, "torch_dtype": "float32"}
    kept = asked(VLLM(dtype="float32"), wide).model.weight_parts
    assert {part.format for part in kept} == {"float32"}
    halved = asked(VLLM(), wide).model.weight_parts
    assert {part.format for part in halved} == {"float32 loaded as 16 bit"}


@pytest.mark.parametrize("width", [1536, 1400])
@pytest.mark.parametrize("whole", [True, False])
def test_ranks_divide_a_model_alike_wherever_it_is_asked(width, whole):
    """What `ModelFacts` says of fp8 experts is what a declared split comes to; one rank divides nothing."""
    model = facts(EXPERTS_FP8).model_copy(update={"expert_block_sizes": (width,)})
    spread = Parallelism(experts=whole)
    able = [ranks for ranks in range(1, 9) if not spread.over(model, ranks).problem]
    assert model.valid_tensor_parallel(8, whole_experts=whole) == able
    assert able == ([1, 2, 4, 8] if whole else [1, 2, 4] if width == 1536 else [1])


# ── laws ────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=40)
@given(st.floats(0.3, 0.95), st.floats(0.3, 0.95), st.sampled_from([VLLM, SGLang]))
def test_a_larger_share_of_a_card_never_stops_fitting(one: float, other: float, engine):
    """Whatever fits a share of a card fits a larger one."""
    less, more = sorted((one, other))
    small, large = (
        on("L40S", asked(engine(memory_fraction=share, **SHORT))) for share in (less, more)
    )
    assert large.problem == "" or small.problem != ""


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["fp8", "mxfp8", "bitsandbytes", "w8a8_fp8"]),
    st.sampled_from([QWEN_8B, LLAMA_70B]),
)
def test_quantising_while_loading_never_takes_more(method: str, config):
    """Weights that are quantised while they are loaded are smaller, embeddings aside."""
    before, after = asked(SGLang(), config).model, asked(SGLang(quantization=method), config).model
    assert before.embedding_bytes < after.loaded_bytes < before.loaded_bytes
    assert after.quantization is not None
