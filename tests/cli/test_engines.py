"""`modalkit engines` and `modalkit recipes`, as a user calls them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from modalkit.cli import main


def said(*words, code=0):
    done = CliRunner().invoke(main, list(words), env={"COLUMNS": "140"})
    assert done.exit_code == code, done.output
    return done.output


def test_sets_are_shown_with_their_versions_and_day():
    """Without a name every engine's set is a line, with what was tried of it."""
    shown = said("engines")
    for word in ("SGLang", "0.5.23", "2.14.1", "vLLM", "0.33.0", "2.14.0", "2026-11-21"):
        assert word in shown
    assert "it has not served a model here" in shown


def test_a_flag_is_found_in_both_engines_with_its_field():
    """A search says which field decides a flag, which go into extra_args, and which are modalkit's."""
    rows = json.loads(said("engines", "--flag", "lora", "--json"))["flags"]
    assert {row["engine"] for row in rows} == {"sglang", "vllm"}
    fields = {row["flags"][0]: row["field"] for row in rows}
    assert fields["--lora-paths"] == "SGLang(lora=...)"
    assert fields["--max-loras"] == "VLLM(lora_slots=...)"
    assert fields["--lora-eviction-policy"] is None
    assert "leave it out" in said("engines", "sglang", "--flag", "api-key")


def test_a_field_is_found_by_its_own_name():
    """What a declaration calls a thing finds the flag that it becomes."""
    shown = said("engines", "vllm", "--flag", "context_length")
    assert "--max-model-len" in shown


def test_one_engine_is_shown_whole():
    """With a name every flag of its table is listed."""
    whole = json.loads(said("engines", "sglang", "--json"))
    assert list(whole["sets"]) == ["sglang"]
    assert len(whole["flags"]) == 532
    assert whole["sets"]["sglang"]["requirements"]


def test_a_flag_that_is_not_there_is_an_error():
    """A text that no flag contains ends with exit code 1 and says where it looked."""
    assert "No flag of vllm contains 'warp'" in said("engines", "vllm", "--flag", "warp", code=1)
    assert "is not one of 'sglang'" in said("engines", "vlm", code=2)


def test_a_recipe_is_shown_with_its_sources():
    """A model's recipe lists each engine's fields, its notes and where it was read."""
    shown = said("recipes", "deepseek-ai/DeepSeek-R1")
    for word in ("deepseekv3", "deepseek_v3", "chat_template", "Source: "):
        assert word in shown
    assert json.loads(said("recipes", "gpt-oss", "--json"))[0]["vllm"]["tool_parser"] == "openai"


def test_every_recipe_is_listed():
    """Without a model all of them are shown, as many as in JSON."""
    everything = json.loads(said("recipes", "--json"))
    shown = said("recipes")
    assert all(one["name"] in shown for one in everything)


@pytest.mark.parametrize("model", ["org/model", "./folder"])
def test_a_model_without_a_recipe_is_an_error(model):
    """What no recipe fits is said, with what happens then."""
    assert f"No recipe fits {model!r}" in said("recipes", model, code=1)


def test_a_misspelt_recipe_is_guessed():
    """A name that nearly is one is answered with it."""
    assert "Did you mean 'qwen3'?" in said("recipes", "qwen33", code=1)
