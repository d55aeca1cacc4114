"""What a folder's weight files hold, beside what its config says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modalkit.sizing.memory import Load, Split, breakdown, kept_tokens, lora_bytes
from modalkit.sizing.model import model_facts, read_model
from modalkit.sizing.stored import Stored, stored_in

SMALL = {"hidden_size": 128, "num_hidden_layers": 4, "vocab_size": 512, "intermediate_size": 256}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
LLAMA = {"model_type": "llama", "torch_dtype": "bfloat16", **SMALL}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A real model in several files, as transformers saves it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("saved")
    config = transformers.LlamaConfig(**SMALL, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="500KB")
    return folder


def test_a_saved_model_is_as_large_as_sizing_says(saved: Path):
    """The files of a model that transformers saved hold the bytes worked out from its config."""
    assert len(list(saved.glob("*.safetensors"))) > 1
    found = read_model(saved)
    assert found.stored_bytes == found.weight_bytes == found.loaded_bytes


def test_an_index_stands_for_files_that_are_not_there(saved: Path, tmp_path: Path):
    """With the index and no files its total counts; without the index the config alone."""
    for name in ("config.json", "model.safetensors.index.json"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    assert stored_in(tmp_path).bytes == read_model(saved).stored_bytes
    (tmp_path / "model.safetensors.index.json").unlink()
    assert read_model(tmp_path).stored_bytes == 0


def test_what_an_index_does_not_name_is_not_counted(saved: Path, tmp_path: Path):
    """A second copy of the weights beside the files that the index names adds nothing."""
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "consolidated.safetensors").write_bytes(next(saved.glob("*-00001-*")).read_bytes())
    assert stored_in(tmp_path) == stored_in(saved)


@pytest.mark.parametrize("content", [b"", b"x" * 100, (1 << 60).to_bytes(8, "little") + b"{}"])
def test_what_is_no_safetensors_counts_for_nothing(tmp_path: Path, content: bytes):
    """A file that is something else leaves sizing to the config."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "model.safetensors").write_bytes(content)
    assert read_model(tmp_path).stored_bytes == 0


def test_files_that_hold_more_than_the_config_says_count_whole():
    """Bytes beyond the config's are taken to be loaded; a few for good measure are not."""
    plain = model_facts(LLAMA)
    more = model_facts(LLAMA, stored=plain.weight_bytes + 1_000_000)
    assert more.loaded_bytes == plain.loaded_bytes + 1_000_000
    assert model_facts(LLAMA, stored=plain.weight_bytes + 1000).loaded_bytes == plain.loaded_bytes
    assert model_facts(LLAMA, stored=1000).loaded_bytes == plain.loaded_bytes


def test_wider_files_hold_no_more_weights():
    """Float32 files of a 16-bit model are loaded as 16 bit; tensors beyond the config are still beyond it."""
    config = LLAMA | {"tie_word_embeddings": False}
    plain = model_facts(config)
    own = {"weights": plain.total_parameters}
    wide = model_facts(config, stored=Stored(4 * plain.total_parameters, own))
    assert (wide.loaded_bytes, wide.stored_bytes) == (plain.loaded_bytes, 2 * plain.loaded_bytes)
    for width in (2, 4):
        held = Stored(width * (plain.total_parameters + 10_000), own | {"mtp.eh_proj": 10_000})
        assert model_facts(config, stored=held).loaded_bytes == plain.loaded_bytes + 20_000


def test_adapters_take_two_matrices_beside_each_linear_map():
    """An adapter's bytes are its rank times the rows and columns of every map, in 16 bit."""
    maps = [(128, 128), (64, 128), (64, 128), (128, 128), (256, 128), (256, 128), (128, 256)]
    width = 4 * sum(rows + columns for rows, columns in maps)
    model = model_facts(LLAMA)
    assert lora_bytes(model, 3, 8) == 3 * 8 * 2 * width
    load = Load(1024, 1, lora_bytes=lora_bytes(model, 3, 8))
    lines = {line.what: line.bytes for line in breakdown(model, load, Split(2), 80, "vllm").lines}
    assert lines["LoRA adapters"] == 3 * 8 * 2 * width * 3 // 4  # half of each is split


def test_cross_attention_keeps_the_encoders_tokens():
    """Whisper's 30 seconds are 1,500 tokens in every decoder layer; T5's are those of the request."""
    whisper = model_facts({"model_type": "whisper", "d_model": 512, "decoder_layers": 4})
    assert whisper.cross_bytes_per_token() == 4 * 2 * 512 * 2
    (cross,) = [layer for layer, _ in whisper.cache_groups if layer.name == "cross_attention"]
    assert cross.window == 1500
    t5 = model_facts({"model_type": "t5"})
    assert t5.cross_bytes_per_token() == t5.kv_bytes_per_token()


def test_layers_of_a_searched_architecture_differ():
    """Nemotron-NAS leaves out attention and sets each feed-forward's width; both are counted."""

    def block(heads_in_group: int | None, multiple: float) -> dict[str, dict[str, object]]:
        none = heads_in_group is None
        return {
            "attention": {"n_heads_in_group": heads_in_group, "no_op": none},
            "ffn": {"ffn_mult": multiple, "no_op": False},
        }

    blocks = [block(8, 2.625), block(None, 1.0), block(16, 5.25)]
    config = {"model_type": "nemotron-nas", "hidden_size": 8192, "num_hidden_layers": 3}
    config |= {"num_attention_heads": 64, "vocab_size": 1000, "tie_word_embeddings": False}
    found = model_facts(config | {"block_configs": blocks})
    assert found.kv_bytes_per_token() == (8 + 4) * 128 * 2 * 2
    widths = sum(3 * 8192 * width for width in (14336, 5632, 28672))
    attention = sum(8192 * 128 * (2 * 64 + 2 * heads) for heads in (8, 4))
    assert found.total_parameters == 2 * 1000 * 8192 + 7 * 8192 + widths + attention
    assert found.valid_tensor_parallel() == [1, 2, 4, 8]


def test_an_encoders_tokens_do_not_follow_the_request():
    """Whisper keeps 1,500 tokens to attend across however short the request; T5 as many as it has."""
    for model_type, tokens in (("whisper", 1500), ("t5", 100)):
        found = model_facts({"model_type": model_type})
        (cross,) = [layer for layer, _ in found.cache_groups if layer.name == "cross_attention"]
        assert kept_tokens(cross, Load(100, 1)) == tokens


def test_a_prediction_layer_is_a_layer_and_a_projection():
    """A stored multi-token-prediction layer is the last layer again and a map of two states to one."""
    layer = (model_facts(LLAMA).weight_bytes - 2 * (2 * 512 * 128 + 128)) // 4
    more = model_facts(LLAMA | {"num_nextn_predict_layers": 1, "tie_word_embeddings": False})
    assert more.extra_stored_bytes == layer + 2 * 2 * 128 * 128


def test_gpt_oss_to_the_byte():
    """The published size of gpt-oss-120b, whose experts alone are in mxfp4, comes out exactly."""
    config = {"model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 36}
    config |= {"num_local_experts": 128, "intermediate_size": 2880, "vocab_size": 201088}
    config |= {"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64}
    quantised = {"quantization_config": {"quant_method": "mxfp4"}, "torch_dtype": "bfloat16"}
    assert model_facts(config | quantised).weight_bytes == 65_248_815_744


@pytest.mark.parametrize(("beyond", "lacks"), [(0, True), (30_000, True), (3_000_000, False)])
def test_files_without_an_output_head_say_so_by_their_bytes(beyond: int, lacks: bool):
    """An embedding model's files lack the head that its config says; files of any other size say nothing."""
    large = LLAMA | {"vocab_size": 64_000, "hidden_size": 1024, "tie_word_embeddings": False}
    head = 64_000 * 1024
    whole = model_facts(large)
    found = model_facts(large, stored=whole.weight_bytes - 2 * head + beyond)
    assert whole.total_parameters - found.total_parameters == (head if lacks else 0)
