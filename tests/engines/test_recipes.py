"""Recipes: defaults for a model family, each taken by the engines, each overridable."""

from __future__ import annotations

import pytest

from modalkit import GPUProfile, ModelService, plan_service
from modalkit.engines import VLLM, Launch, SGLang, recipe_for, recipes
from modalkit.errors import DeclarationError

ENGINES = {"sglang": SGLang, "vllm": VLLM}
NAMES = [one.name for one in recipes()]


@pytest.mark.parametrize("recipe", recipes(), ids=NAMES)
def test_a_recipe_is_whole(recipe):
    """Each has a source and a pattern in lower case, and its fields are ones the engines take."""
    assert recipe.sources
    assert recipe.models
    assert all(pattern == pattern.lower() for pattern in recipe.models)
    for name, declared in ENGINES.items():
        assert declared(**recipe.fields(name))


def test_names_are_given_once():
    """No two recipes have the same name."""
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen3-8B", "qwen3"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "qwen3-instruct"),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507-FP8", "qwen3-thinking"),
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", "qwen3-coder"),
        ("Qwen/Qwen3-Embedding-0.6B", "qwen3-embedding"),
        ("Qwen/Qwen3-Reranker-4B", "qwen3-reranker"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3"),
        ("nvidia/Llama-3.1-8B-Instruct-FP8", "llama-3"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama-4"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "deepseek-r1-distill"),
        ("deepseek-ai/DeepSeek-V3-0324", "deepseek-v3"),
        ("deepseek-ai/DeepSeek-V3.1", "deepseek-v3.1"),
        ("openai/gpt-oss-20b", "gpt-oss"),
        ("zai-org/GLM-4.5-Air", "glm-4.5"),
        ("moonshotai/Kimi-K2-Instruct", "kimi-k2"),
        ("moonshotai/Kimi-K2-Thinking", "kimi-k2-thinking"),
        ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "mistral"),
        ("BAAI/bge-reranker-v2-m3", "bge-reranker"),
        ("BAAI/bge-m3", "text-embedding"),
        ("sentence-transformers/all-MiniLM-L6-v2", "text-embedding"),
        ("microsoft/Phi-4-mini-instruct", "phi-4-mini"),
        ("google/gemma-3-27b-it", None),
        ("org/model", None),
        ("/models/Qwen3-8B", None),
    ],
)
def test_a_model_has_the_recipe_of_its_family(model, name):
    """The hub id decides, the nearest family first; what nobody tried has none."""
    found = recipe_for(model)
    assert (found.name if found else None) == name


def test_a_recipe_fills_what_is_left_out():
    """Only fields that the declaration does not name are the recipe's, None included."""
    model = "Qwen/Qwen3-8B"
    assert VLLM().with_recipe(model) == VLLM(tool_parser="hermes", reasoning_parser="qwen3")
    kept = VLLM(tool_parser="qwen3_xml", reasoning_parser=None).with_recipe(model)
    assert (kept.tool_parser, kept.reasoning_parser) == ("qwen3_xml", None)
    for untouched in (SGLang(recipe=None), SGLang(tool_parser=None, reasoning_parser=None)):
        assert untouched.with_recipe(model) == untouched
    assert SGLang(recipe="gpt-oss").with_recipe("me/my-finetune").tool_parser == "gpt-oss"


def test_a_plan_shows_what_the_recipe_decided():
    """The plan's command line has the recipe's flags, and the plan says where they are from."""

    class Chat(ModelService):
        model = "deepseek-ai/DeepSeek-R1"
        engine = VLLM(tool_parser=None)
        gpu = GPUProfile("H200:8")

    plan = plan_service(Chat).engine
    assert "--reasoning-parser" in plan.argv
    assert "--tool-call-parser" not in plan.argv
    assert plan.recipe.fields == {"reasoning_parser": "deepseek_r1", "expert_parallel": True}
    assert "trust_remote_code=True" in plan.recipe.notes[-1]
    assert "--trust-remote-code" not in plan.argv


def test_a_recipe_that_is_not_there_is_refused():
    """A name that no recipe has is an error with the nearest one."""
    with pytest.raises(DeclarationError, match="Did you mean 'gpt-oss'"):
        SGLang(recipe="gptoss")


@pytest.mark.engines
@pytest.mark.parametrize("engine", ENGINES)
def test_the_real_parser_takes_every_recipe(engine, real_parser):
    """The engine's own parser accepts the command line of every recipe, on one GPU and on eight."""
    declared, skip = {"sglang": (SGLang, 3), "vllm": (VLLM, 4)}[engine]
    launches = [
        Launch(model="org/model", served_name="name", gpu_count=gpus, from_volume=True)
        for gpus in (1, 8)
    ]
    lines = [
        declared(**recipe.fields(engine)).argv(launch)[skip:]
        for recipe in recipes()
        for launch in launches
    ]
    verdicts = zip(lines, real_parser(engine, lines), strict=True)
    assert [(line, verdict) for line, verdict in verdicts if verdict] == []


def test_what_is_declared_otherwise_is_told():
    """The plan names what a declaration stands instead of; the same value twice is no difference."""

    class Chat(ModelService):
        model = "Qwen/Qwen3-8B"
        gpu = GPUProfile("L40S")
        engine = VLLM(tool_parser=None, reasoning_parser="qwen3")

    use = plan_service(Chat).engine.recipe
    assert use.fields == {}
    assert use.overridden == {"tool_parser": "hermes"}
    Chat.engine = VLLM()
    assert plan_service(Chat).engine.recipe.overridden == {}
