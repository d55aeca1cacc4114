"""``GPUProfile.fit``: a wish that says nothing by itself, and the GPUs that come of it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit import VLLM, Echo, GPUProfile, ModelService, Scaling, SGLang, Transformers
from modalkit.declare.gpu import GPUFit, gpu_catalogue
from modalkit.discovery import services_of
from modalkit.engines.speculative import Speculative
from modalkit.errors import DeclarationError, PlanError, SizingError
from modalkit.fitting import demand_of, fit_service
from modalkit.lock import Lock, LockedService, write_lock
from modalkit.lookup import declared, locked_service
from modalkit.plan import engine_of, plan_service
from modalkit.sizing.cache_layer import CacheLayer, Keeps
from modalkit.sizing.memory import Split, breakdown
from modalkit.sizing.model import ModelFacts, model_facts
from modalkit.sizing.report import parse_choice

QWEN_8B = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}
LLAMA_70B = {
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}


def service(**body: object) -> type[ModelService]:
    """A service with a body."""
    return type("Chat", (ModelService,), {"model": "org/model", "engine": VLLM(), **body})


def facts(config: dict[str, object] = QWEN_8B) -> ModelFacts:
    """A model's facts."""
    return model_facts(config, name="org/model")


def chosen(config: dict[str, object], **wishes: object) -> list[str]:
    """What a fit on vLLM comes to."""
    fitted = fit_service(service(gpu=GPUProfile.fit(**wishes)), facts(config))
    return [str(choice) for choice in fitted.profile.choices]


def test_declaring_asks_nobody():
    """A fit is a frozen value that compares and prints like any declaration."""
    fit = GPUProfile.fit(context=8192, allowed=["H100"])
    assert fit == GPUFit(context=8192, allowed=("H100",))
    assert str(fit) == "fit(context=8192, allowed=('H100',))"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"allowed": ["H1OO"]}, "Did you mean 'H100'"),
        ({"allowed": ["H100:2"]}, "leave it out"),
        ({"allowed": ["h1oo"]}, "Did you mean 'H100'"),
        ({"allowed": "H100"}, r"must be a list, got 'H100'. Write \['H100'\]"),
        ({"context": 0}, "at least 1 tokens"),
        ({"max_count": 9}, "1 to 8 GPUs"),
        ({"contxt": 1}, "contxt"),
    ],
)
def test_an_impossible_wish_is_refused_where_it_is_written(wish, message):
    """A misspelt type, a count, and numbers out of range say what to write."""
    with pytest.raises((DeclarationError, TypeError), match=message):
        GPUProfile.fit(**wish)


def test_types_are_taken_as_modal_takes_them():
    """Modal writes a type in capitals itself, so that ``h100`` is one."""
    assert GPUProfile.fit(allowed=["h100!", "a10g"]).allowed == ("H100!", "A10G")
    assert parse_choice("h100:2") == parse_choice("H100:2") == (gpu_catalogue()["H100"], 2)
    for wrong in ("h1oo", "h100:", "h100:0", "h100:two"):
        with pytest.raises(SizingError, match=wrong):
            parse_choice(wrong)


def test_the_cheapest_comes_first_and_every_fallback_fits():
    """An 8B model at 32k tokens: each choice holds it, types differ, the first is cheapest."""
    of = service(gpu=GPUProfile.fit(context=32_768, concurrency=8, fallbacks=3))
    fitted = fit_service(of, facts())
    prices = [one.usd_per_hour for one in fitted.chosen]
    assert prices == sorted(prices)
    assert len({one.gpu.name for one in fitted.chosen}) == len(fitted.chosen) == 4
    for one in fitted.chosen:
        held = breakdown(
            facts(), demand_of(of, facts()).load, Split(tensor=one.count), one.gpu.total_gib, "vllm"
        )
        assert held.fits


def test_every_cheaper_choice_is_explained():
    """Whatever costs less than the first choice has a reason not to be it."""
    fitted = fit_service(service(gpu=GPUProfile.fit(context=32_768)), facts(LLAMA_70B))
    lines = list(fitted.explain())
    assert any(line.startswith("L4 at $0.80 an hour: short of") for line in lines)
    assert all(
        one.problem
        for one in fitted.passed_over
        if one.usd_per_hour < fitted.chosen[0].usd_per_hour
    )


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([QWEN_8B, LLAMA_70B]),
    st.integers(1, 40_000),
    st.integers(1, 64),
    st.lists(st.sampled_from(sorted(gpu_catalogue())), max_size=3),
)
def test_wishes_are_kept(config, context, concurrency, allowed):
    """Types, price and count stay within what was allowed, or nothing is chosen at all."""
    try:
        choices = chosen(
            config,
            context=context,
            concurrency=concurrency,
            allowed=allowed,
            max_usd_per_hour=20,
            max_count=4,
        )
    except SizingError as error:
        assert "Lower context=" in str(error)  # noqa: PT017 - either outcome is allowed
        return
    for text in choices:
        profile = GPUProfile(text)
        assert not allowed or profile.gpu in allowed
        assert profile.usd_per_hour <= 20.1
        assert profile.count <= 4


def test_a_card_that_may_be_upgraded_is_sized_on_the_smaller():
    """``H100``, ``A100`` and ``B200+`` keep their spelling and are judged by the card they promise."""
    assert chosen(QWEN_8B, allowed=["A100"], context=8192) == ["A100"]
    assert chosen(LLAMA_70B, allowed=["H100!"], fallbacks=0, context=8192)[0].startswith("H100!:")
    wide = facts(LLAMA_70B).model_copy(update={"loaded_bytes": 200 * 1024**3})
    newer = VLLM(base_image="nvidia/cuda:13.1.1-devel-ubuntu24.04")
    asking = service(engine=newer, gpu=GPUProfile.fit(allowed=["B200+"], context=8192))
    fitted = fit_service(asking, wide)
    assert fitted.profile.to_modal() == "B200+:2"  # it would fit one B300


def test_a_card_that_needs_a_newer_cuda_is_passed_over():
    """A B300 is chosen only where the image's tag promises the CUDA it needs."""
    wide = facts(LLAMA_70B).model_copy(update={"loaded_bytes": 200 * 1024**3})
    wish = GPUProfile.fit(context=8192)
    fitted = fit_service(service(gpu=wish), wide)
    assert "B300" not in {choice.gpu for choice in fitted.profile.choices}
    assert any("B300" in line and "needs CUDA 13.1" in line for line in fitted.explain())
    newer = service(engine=VLLM(base_image="nvidia/cuda:13.2.0-devel-ubuntu24.04"), gpu=wish)
    assert fit_service(newer, wide).profile.gpu == "B300"


@pytest.mark.parametrize(
    ("gpu", "base_image", "instead"),
    [
        ("B300", None, "Name another GPU"),
        ("B200+", None, "Write 'B200'"),
        ("B200+", "nvidia/cuda:13.1.0-devel-ubuntu24.04", None),
        ("B200", None, None),
        ("B300", "ours/image:1", None),  # nobody knows
    ],
)
def test_a_card_and_an_image_of_an_older_cuda(gpu: str, base_image: str | None, instead):
    """A card that needs a newer CUDA than the image has is refused, and so is what may become one."""
    made = service(engine=VLLM(base_image=base_image), gpu=GPUProfile(gpu))
    if instead is None:
        assert str(plan_service(made).gpu) == gpu
        return
    with pytest.raises(PlanError, match=f"needs CUDA 13.1, and the image brings 13.0. {instead}"):
        plan_service(made)


def test_fewer_gpus_can_be_preferred():
    """With ``prefer_fewer`` one dear card beats several cheap ones."""
    assert GPUProfile(chosen(LLAMA_70B, context=4096, prefer_fewer=True)[0]).count == 1


def test_types_are_explained_as_the_wish_writes_them():
    """What was passed over is named by the string that was allowed: a pinned card, one that may be larger."""
    wish = GPUProfile.fit(context=8192, concurrency=8, allowed=["A100", "H100!", "B200+"])
    found = fit_service(service(gpu=wish, engine=VLLM()), facts(LLAMA_70B))
    lines = list(found.explain())
    assert [str(one) for one in found.profile.choices] == ["H100!:4", "A100:8"]
    assert {line.partition(" at ")[0].partition(":")[0] for line in lines} == {
        "A100",
        "H100!",
        "B200+",
    }


@pytest.mark.parametrize(
    ("wish", "remedy"),
    [
        ({"max_usd_per_hour": 1.0}, "concurrency=, or raise max_usd_per_hour=."),
        ({"min_tokens_per_s": 1e6}, "concurrency=, or lower min_tokens_per_s=."),
        (
            {"allowed": ["L4"], "max_count": 1},
            "concurrency=, or allow more types, or raise max_count=.",
        ),
        ({"concurrency": 1 << 20}, "concurrency=."),
    ],
)
def test_what_fits_nothing_says_what_is_in_the_way(wish, remedy):
    """Only limits that the wish itself sets are named to be loosened."""
    asked = service(gpu=GPUProfile.fit(context=8192, **wish), engine=VLLM())
    with pytest.raises(SizingError, match=re.escape(remedy) + "$"):
        fit_service(asked, facts(LLAMA_70B))


def test_bfloat16_needs_a_card_that_has_it():
    """VLLM does not start a bf16 model on a T4; told float16, it does."""
    tiny = {**QWEN_8B, "hidden_size": 256, "num_hidden_layers": 2, "intermediate_size": 512}
    assert chosen(tiny, context=128)[0] == "L4"
    half = service(engine=VLLM(dtype="float16"), gpu=GPUProfile.fit(context=128))
    assert str(fit_service(half, facts(tiny)).profile) == "T4"


def test_the_load_is_what_engine_and_scaling_say():
    """Without numbers of its own a fit sizes for the engine's context and the service's inputs."""
    of = service(
        engine=SGLang(context_length=16_384, kv_cache_dtype="fp8_e5m2"),
        gpu=GPUProfile.fit(),
        scaling=Scaling(concurrency=24),
    )
    load = demand_of(of, facts()).load
    assert (load.context, load.concurrency, load.cache_bytes) == (16_384, 24, 1.0)
    assert demand_of(service(gpu=GPUProfile.fit()), facts()).load.context == 40_960


def test_a_fits_context_is_what_the_engine_serves():
    """An engine that names no context is started with the one there is room for."""
    of = service(gpu=GPUProfile.fit(context=16_384))
    assert engine_of(of).context_length == 16_384
    plan = plan_service(of, LockedService(gpu=("L4:2", "A10:4")))
    assert plan.engine.argv[-2:] == ("--max-model-len", "16384")
    assert plan.engine.launch.gpu_count == 2
    assert plan.gpu.to_modal() == ["L4:2", "A10:4"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"engine": Echo()}, "how much memory Echo takes is not known"),
        ({"engine": None, "model": None}, "a custom model takes is not known"),
        ({"engine": VLLM(tensor_parallel=2)}, r"tensor_parallel=\.\.\.\) contradicts"),
        ({"engine": VLLM(context_length=9000), "gpu": GPUProfile.fit(context=8000)}, "serves more"),
    ],
)
def test_what_a_fit_cannot_keep_is_refused(body, message):
    """A fit with an engine nobody can size, or with fields that contradict it, is a PlanError."""
    with pytest.raises(PlanError, match=message):
        plan_service(service(**{"gpu": GPUProfile.fit(), **body}))


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module ``fitted.py`` on disk, so that a service has a file to look beside."""
    file = tmp_path / "fitted.py"
    file.write_text("")
    made = ModuleType("fitted")
    made.__file__ = str(file)
    sys.modules["fitted"] = made
    yield file
    del sys.modules["fitted"]


def test_a_hub_model_without_a_lock_says_which_command_to_run(module):
    """A fit of a model that nothing is known of names the command."""
    of = service(gpu=GPUProfile.fit(), __module__="fitted")
    with pytest.raises(
        PlanError, match=r"not locked beside fitted.py. Run: modalkit lock fitted.py"
    ):
        locked_service(of)
    with pytest.raises(PlanError, match=r"Run: modalkit lock fitted\.py$"):
        plan_service(of)


def stated(**changed: object) -> ModelFacts:
    """An 8B model of an architecture of somebody's own, stated by hand."""
    layer = CacheLayer("full_attention", Keeps.ALL, elements=2 * 8 * 128, heads=8)
    figures = {"total_parameters": 8_000_000_000, "active_parameters": 8_000_000_000}
    figures |= {"weight_bytes": 16_000_000_000, "loaded_bytes": 16_000_000_000}
    figures |= {"attention_heads": 32, "kv_heads": 8, "max_context": 32_768, "hidden_size": 4096}
    return ModelFacts(**{"name": "ours", "cache": (layer,) * 36, **figures, **changed})


def test_facts_stated_by_hand_need_no_lock(module):
    """A fit of a model whose architecture nobody knows goes by what its service states."""
    wish = GPUProfile.fit(context=8192)
    of = service(gpu=wish, facts=stated(), __module__="fitted")
    plan = plan_service(of, locked_service(of))
    assert plan.gpu == fit_service(of, stated()).profile
    wider = service(gpu=wish, facts=stated(loaded_bytes=60_000_000_000), __module__="fitted")
    assert plan_service(wider, locked_service(wider)).gpu != plan.gpu


def test_a_lock_of_other_stated_facts_is_refused(module):
    """A figure that was changed after the lock was written makes it stale."""
    locked(module, service(gpu=GPUProfile.fit(), facts=stated(), __module__="fitted"))
    changed = service(gpu=GPUProfile.fit(), facts=stated(kv_heads=4), __module__="fitted")
    with pytest.raises(PlanError, match=r"Chat.facts is 'stated .*modalkit lock fitted.py"):
        locked_service(changed)


def test_a_draft_model_of_the_hub_needs_a_lock(module):
    """A fit without it would be short of its weights and cache; one in the container is no matter of a lock."""

    def guessed(name: str) -> type[ModelService]:
        guess = Speculative(method="draft_model", draft_model=name)
        wish = {"gpu": GPUProfile.fit(context=8192), "facts": stated(), "__module__": "fitted"}
        return service(engine=VLLM(speculative=guess), **wish)

    with pytest.raises(PlanError, match=r"needs to know 'org/draft', which is not locked beside"):
        locked_service(guessed("org/draft"))
    assert locked_service(guessed("/models/draft")).gpu


def test_a_field_that_nobody_states_leaves_a_lock_current():
    """Facts are known by what is stated, so that a later version's further fields change nothing."""

    class Later(ModelFacts):
        further: int = 0

    figures = stated().model_dump(exclude_defaults=True)
    told = [
        declared(service(facts=one))["facts"]
        for one in (stated(), Later(**figures), Later(**figures, further=1))
    ]
    assert told[0] == told[1] != told[2]


def test_facts_must_be_facts():
    """Another value is refused where it stands, with how to write it."""
    with pytest.raises(
        DeclarationError, match=r"Chat.facts cannot be dict. Write facts = ModelFacts"
    ):
        service(facts={"total_parameters": 1})


def test_a_model_folder_needs_no_lock(module):
    """The GPUs of a folder beside the file come from its config."""
    folder = module.parent / "models" / "qwen"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(QWEN_8B))
    of = service(model="./models/qwen", gpu=GPUProfile.fit(context=8192), __module__="fitted")
    plan = plan_service(of, locked_service(of))
    assert plan.gpu == fit_service(of, facts()).profile


def locked(module: Path, of: type[ModelService], **fields: object) -> None:
    """Write a lock for a service beside its file."""
    entry = LockedService(**{"declared": declared(of), "gpu": ("L4:2", "H100"), **fields})
    lock = Lock(modalkit="0", prices_read_on="2026-11-20", services={"fitted.py:Chat": entry})
    write_lock(lock, module.with_name("modalkit.lock"))


def test_the_lock_decides(module):
    """What is locked is taken, whatever would be cheapest today."""
    of = service(gpu=GPUProfile.fit(), __module__="fitted")
    locked(module, of)
    assert plan_service(of, locked_service(of)).gpu.to_modal() == ["L4:2", "H100"]


def test_a_lock_of_something_else_is_refused(module):
    """A service that changed since its lock says what changed and which command to run."""
    locked(module, service(gpu=GPUProfile.fit(), __module__="fitted"))
    changed = service(model="org/other", gpu=GPUProfile.fit(context=99), __module__="fitted")
    with pytest.raises(PlanError) as raised:
        locked_service(changed)
    assert len(raised.value.problems) == 2
    assert "Chat.model is 'org/other', but modalkit.lock holds 'org/model'" in str(raised.value)
    assert "modalkit lock fitted.py" in str(raised.value)


def test_services_are_found_without_a_lock(tmp_path):
    """Looking for services runs the file; a fit without a lock does not stop it."""
    file = tmp_path / "found_here.py"
    file.write_text(
        "import modal\n"
        "from modalkit import VLLM, GPUProfile, ModelService, serve\n"
        "app = modal.App('x')\n"
        "@serve(app)\n"
        "class One(ModelService):\n"
        "    model, engine, gpu = 'org/model', VLLM(), GPUProfile.fit()\n"
    )
    (one,) = services_of(file)
    assert one.__name__ == "One"
    assert isinstance(one.gpu, GPUFit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = 1 / 0\n", "broken.py line 2 fails: ZeroDivisionError"),
        ("(", "broken.py line 1"),
    ],
)
def test_a_file_that_fails_names_its_line(tmp_path, text, message):
    """An exception or a syntax error in the user's file is told with file and line."""
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(DeclarationError, match=message):
        services_of(tmp_path / "broken.py")
    with pytest.raises(DeclarationError, match="no Python file"):
        services_of(tmp_path / "missing.py")


def test_a_custom_engine_of_ours_is_sized():
    """Modalkit's own engine has a reserve of its own."""
    of = service(engine=Transformers(), gpu=GPUProfile.fit(context=2048))
    assert fit_service(of, facts()).chosen
