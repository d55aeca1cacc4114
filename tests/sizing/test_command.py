"""``modalkit size`` as a person types it: a folder with a config, split options, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from modalkit.cli.size import command
from modalkit.declare.gpu import catalogue_date

from .configs import llama

LLAMA = llama(32, 4096, 14_336)
MIXTRAL = LLAMA | {"model_type": "mixtral", "num_local_experts": 8}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with nothing but a config."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    return tmp_path


def size(*arguments: object) -> Result:
    """Run ``modalkit size``."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, [str(one) for one in arguments])


def sized(*arguments: object) -> dict[str, Any]:
    """What ``--json`` says."""
    done = size(*arguments, "--json")
    assert done.exit_code in {0, 1}, done.output
    return json.loads(done.output)


def line(report: dict[str, Any], what: str) -> dict[str, Any]:
    """One line of the breakdown."""
    return next(one for one in report["breakdown"] if one["what"] == what)


def test_a_config_is_all_it_takes(folder):
    """Kinds of weights and layers, graphs, the prices' date and source are printed for a person."""
    done = size(folder, "--gpu", "H100")
    assert done.exit_code == 0
    for said in (
        "attention, keys and values",
        "MLP",
        "norms",
        "output head",
        "full attention",
        "CUDA graphs",
    ):
        assert said in done.output
    assert f"Modal's list prices, {catalogue_date()}" in done.output
    assert "32 layers x 8 requests x 8,192 tokens x 2,048 numbers x 2 bytes" in done.output


def test_the_json_adds_up(folder):
    """Parts make their line, lines with what is free make the card; every one has formula and source."""
    found = sized(folder, "--gpu", "H100")
    lines = found["breakdown"]
    assert sum(one["bytes"] for one in lines) == found["total_bytes_per_gpu"]
    for one in lines:
        assert one["formula"]
        assert one["source"]
        assert sum(part["bytes"] for part in one.get("parts", [])) in {0, one["bytes"]}
    assert sum(part["bytes"] for part in line(found, "weights")["parts"]) == found["loaded_bytes"]
    assert {"total_parameters", "active_parameters", "weight_bytes", "kv_bytes_per_token"} <= set(
        found
    )
    assert {"state_bytes_per_sequence", "valid_tensor_parallel", "fits", "picks"} <= set(found)
    assert set(found["picks"][0]) >= {"gpu", "count", "usd_per_hour"}


@pytest.mark.parametrize(
    ("words", "split"),
    [
        (("--tp", 2), {"tensor": 2, "pipeline": 1, "data": 1}),
        (("--tensor-parallel-size", 2, "--pp", 2), {"tensor": 2, "pipeline": 2, "data": 1}),
        (("--tp-size", 1, "--dp-size", 2), {"tensor": 1, "pipeline": 1, "data": 2}),
    ],
)
def test_a_split_takes_the_gpus_it_needs(folder, words, split):
    """With a split a GPU needs no count, and all that is picked has as many as it takes."""
    found = sized(folder, *words, "--gpu", "H100")
    gpus = split["tensor"] * split["pipeline"] * split["data"]
    assert found["split"] | split == found["split"]
    assert found["gpu"] == f"H100:{gpus}"
    assert {one["count"] for one in found["picks"]} == {gpus}


def test_a_pipeline_shares_out_layers(folder):
    """The largest of three stages counts: eleven of 32 layers, not a third of them."""
    found = sized(folder, "--tp", 1, "--pp", 3, "--gpu", "H100")
    assert "11 layers x" in line(found, "KV cache")["parts"][0]["formula"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--tp", 2, "--gpu", "H100:4"),
            "'H100:4' has 4 GPUs, but 2 tensor x 1 pipeline x 1 data ranks take 2",
        ),
        (("--gpu", "H1000"), "The GPU 'H1000' must be a type of the catalogue"),
        (("--gpu", "H100:0"), "The GPU 'H100:0' must be"),
        (("--tp", 0), "0 is not in the range x>=1"),
        (("--gpu-memory-utilization", 1.5), "1.5 is not in the range 0<x<=1"),
        (("--kv-cache-dtype", "fp9"), "'fp9' is not one of"),
        (("--max-price", -1), "-1.0 is not in the range x>0"),
        (("--context", "8k"), "'8k' is not a valid integer"),
    ],
)
def test_options_that_cannot_be(folder, words, message):
    """A wrong option is refused with its value and what would do."""
    done = size(folder, *words)
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_split_that_does_not_divide_is_said(folder):
    """Three ranks do not divide 32 heads; the exit code says so too."""
    done = size(folder, "--tp", 3, "--gpu", "H100")
    assert done.exit_code == 1
    assert "tensor parallelism over 3 does not divide the model" in done.output


def test_experts_are_spread_whole(tmp_path):
    """Eight experts go over four ranks; over three they do not."""
    (tmp_path / "config.json").write_text(json.dumps(MIXTRAL))
    assert sized(tmp_path, "--tp", 4, "--ep", 4, "--gpu", "H100")["problem"] == ""
    assert (
        "experts do not divide" in sized(tmp_path, "--tp", 4, "--ep", 3, "--gpu", "H100")["problem"]
    )


def test_copies_hold_the_experts_as_their_engine_has_them(tmp_path):
    """Copies share the experts out with vLLM, and have all of them each with SGLang, whose attention has copies too."""
    (tmp_path / "config.json").write_text(json.dumps(MIXTRAL))

    def experts(*words: object) -> int:
        parts = line(sized(tmp_path, "--gpu", "H200:8", *words), "weights")["parts"]
        return next(part["bytes"] for part in parts if part["what"] == "experts")

    copies = ("--tp", 4, "--dp", 2)
    assert experts("--engine", "sglang", *copies) == 2 * experts("--engine", "vllm", *copies)
    attention = sized(tmp_path, "--gpu", "H200:8", "--engine", "sglang", "--tp", 8, "--attn-dp", 8)
    assert attention["problem"] == ""
    done = size(tmp_path, "--engine", "vllm", "--attn-dp", 2)
    assert done.exit_code == 2
    assert "--attn-dp is SGLang's, not vllm's" in done.output


def test_what_the_engine_is_told_counts(folder):
    """A cache of 8 bits is half as large; a share of the card leaves the rest; another release is noted."""
    usual, told = (
        sized(folder, "--gpu", "H100", *words)
        for words in ((), ("--kv-cache-dtype", "fp8_e4m3", "--gpu-memory-utilization", 0.5))
    )
    assert line(told, "KV cache")["bytes"] * 2 == line(usual, "KV cache")["bytes"]
    assert line(told, "left alone")["bytes"] == pytest.approx(
        0.5 * told["total_bytes_per_gpu"], rel=1e-6
    )
    done = size(folder, "--engine", "sglang", "--engine-version", "0.7.0")
    assert "The reserve is that of SGLang 0.5.23; SGLang 0.7.0 is declared" in done.output
    assert sized(folder, "--engine-version", "0.33.1")["reserve_note"] == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no config.json in"),
        ("{", "must be a JSON file"),
        ("[]", "must hold a JSON object, got list"),
        ("{}", "The config must name its 'model_type'"),
        (
            '{"model_type": "brand_new"}',
            "The model type 'brand_new' is not one this version can size",
        ),
        ('{"model_type": "llama", "hidden_size": -1}', "of a size below 0"),
        ('{"model_type": "llama", "num_attention_heads": 0}', "num_attention_heads = 0"),
        (
            '{"model_type": "llama", "num_hidden_layers": 1000000000}',
            "more than 65,536 is no model",
        ),
        ('{"model_type": "llama", "hidden_size": "wide"}', "'hidden_size' must be a number"),
        (
            '{"model_type": "llama", "quantization_config": 4}',
            "in another way than its architecture",
        ),
    ],
)
def test_configs_that_cannot_be_sized(tmp_path, content, message):
    """Each is refused in a sentence with what is wrong; there is no traceback."""
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    done = size(tmp_path)
    assert done.exit_code == 1
    assert message in done.output
    assert isinstance(done.exception, SystemExit)


def test_a_folder_that_is_not_there():
    """What is written like a path, or is no hub id, is looked for here alone."""
    for name in ("./nowhere", "nowhere", "~/nowhere"):
        assert f"There is no folder or file '{name}'" in size(name).output
