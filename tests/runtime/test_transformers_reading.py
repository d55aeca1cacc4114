"""Reading weights fast: the right files and bytes, whichever way, and no harm where one cannot be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Mistral4Config,
    Mistral4ForCausalLM,
)

from modalkit.runtime.transformers.in_memory import load_from_memory, read_tensors
from modalkit.runtime.transformers.load_text import load_text_engine
from modalkit.runtime.transformers.options import EngineOptions
from modalkit.runtime.transformers.reading import reading_ahead, weight_files

SIZE = 9 << 20  # two pieces and a part of one


def is_cached(file: Path) -> bool:
    """Whether every page of a file can be had without the disk."""
    number = os.open(file, os.O_RDONLY)
    try:
        return all(
            os.preadv(number, [bytearray(4096)], at, os.RWF_NOWAIT) == 4096
            for at in range(0, file.stat().st_size, 4096)
        )
    except BlockingIOError:
        return False
    finally:
        os.close(number)


def drop(file: Path) -> None:
    """Let the page cache forget a file."""
    number = os.open(file, os.O_RDONLY)
    os.fsync(number)
    os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(number)


def forget(file: Path) -> Path:
    """Let the page cache forget a file, and see that it did."""
    drop(file)
    try:
        if is_cached(file):
            pytest.skip("This file system keeps files in memory whatever it is told.")
    except OSError:
        pytest.skip("This file system does not tell what is in memory.")
    return file


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """A file that the page cache has forgotten."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(os.urandom(SIZE))
    return forget(file)


@pytest.fixture
def direct(tmp_path: Path) -> Path:
    """A folder on a file system that is read past the page cache."""
    file = tmp_path / "probe"
    file.write_bytes(bytes(8192))
    try:
        os.close(os.open(file, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("This file system is not read past the page cache.")
    forget(file).unlink()
    return tmp_path


def test_tensors_read_past_the_page_cache_are_the_files(direct):
    """Every type and shape, an odd place in the file and an empty tensor included."""
    tensors = {
        "wide": torch.randn(1500, 2000),
        "half": torch.randn(7, 3).to(torch.bfloat16),
        "one": torch.tensor(3.5),
        "byte": torch.tensor([1, 2, 3], dtype=torch.uint8),
        "odd": torch.randn(5).to(torch.float16),
        "count": torch.arange(4),
        "flag": torch.tensor([True, False]),
        "none": torch.empty(0, 4),
    }
    file = direct / "model.safetensors"
    save_file(tensors, file)
    found, expected = read_tensors([file]), load_file(file)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        found[name].clone()  # at an address that its type may have


def test_a_model_read_into_memory_is_the_one_that_is_mapped(direct):
    """Shards, tied embeddings and generation settings come out as from_pretrained brings them."""
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        dtype="bfloat16",
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config.top_k, model.generation_config.do_sample = 7, True
    model.save_pretrained(direct, max_shard_size="8KB")
    files = weight_files(direct)
    assert len(files) > 1
    arguments = {"revision": None, "trust_remote_code": False, "dtype": "auto"}
    for file in files:
        drop(file)
    loaded = load_from_memory(direct, files, arguments)
    mapped = AutoModelForCausalLM.from_pretrained(direct, **arguments)
    assert type(loaded) is type(mapped)
    assert loaded.generation_config.top_k == 7
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    for name, tensor in mapped.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    ids = torch.arange(8).reshape(1, 8)
    assert torch.equal(loaded(ids).logits, mapped(ids).logits)


def test_a_type_that_is_no_causal_one_to_transformers_is_left_to_the_other_way(direct, tokenizer):
    """Mistral 4, which transformers lists among the multimodal ones alone, starts from cold files."""
    config = Mistral4Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        moe_intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        n_routed_experts=4,
        num_experts_per_tok=2,
        kv_lora_rank=16,
        q_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=16,
        max_position_embeddings=128,
    )
    Mistral4ForCausalLM(config).save_pretrained(direct)
    tokenizer.save_pretrained(direct)
    for file in weight_files(direct):
        drop(file)
    _, told = load_text_engine(EngineOptions(model=str(direct), device="cpu"))
    assert told.startswith("Mistral4ForCausalLM, cpu, ")


def test_what_is_in_the_page_cache_is_not_read_again(direct):
    """Files that were just used are mapped: that takes no time."""
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
        )
    ).save_pretrained(direct)
    files = weight_files(direct)
    files[0].read_bytes()
    arguments = {"revision": None, "trust_remote_code": False, "dtype": "auto"}
    assert load_from_memory(direct, files, arguments) is None


def test_a_cut_file_is_left_to_the_other_way(direct):
    """What goes wrong while reading is told as an OSError, which the loader takes for a no."""
    file = direct / "model.safetensors"
    save_file({"a": torch.zeros(100_000)}, file)
    os.truncate(file, 50_000)
    with pytest.raises(OSError, match="ends behind"):
        read_tensors([file])


def test_files_are_in_memory_when_the_block_ends(cold):
    """Whatever the block itself has touched, everything is there after it."""
    with reading_ahead([cold]):
        pass
    assert is_cached(cold)


def test_an_error_ends_the_reading_and_is_the_one_that_is_seen(cold):
    """A model that cannot be put together does not wait for the disk."""
    with pytest.raises(ZeroDivisionError), reading_ahead([cold, cold]):
        _ = 1 / 0


def test_there_may_be_nothing_to_read():
    """A model of another format is loaded as ever."""
    with reading_ahead([]):
        pass


def test_only_what_will_be_mapped_is_read(tmp_path):
    """Shards by the index, once each; else the one file; no copies in other formats."""
    for name in ("a.safetensors", "b.safetensors", "consolidated.safetensors", "model.safetensors"):
        (tmp_path / name).touch()
    assert [file.name for file in weight_files(tmp_path)] == ["model.safetensors"]
    shards = {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors", "w": "gone"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    assert [file.name for file in weight_files(tmp_path)] == ["b.safetensors", "a.safetensors"]
