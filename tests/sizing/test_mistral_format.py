"""Mistral's ``params.json``: whatever it holds, it is sized or refused in words, with the field's name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modalkit.errors import ModalkitError, SizingError
from modalkit.sizing.mistral_format import as_config
from modalkit.sizing.model import model_facts, read_model

Params = dict[str, Any]

SMALL: Params = {"dim": 64, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16}
SMALL |= {"hidden_dim": 128, "vocab_size": 100, "norm_eps": 1e-5, "rope_theta": 1e6}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2}
LATENT = {"q_lora_rank": 32, "kv_lora_rank": 16, "v_head_dim": 16, "qk_nope_head_dim": 16}
LATENT |= {"qk_rope_head_dim": 8}
SPARSE = {"first_k_dense_replace": 1, "expert_hidden_dim": 32, "num_shared_experts": 1}
TOWER = {"hidden_size": 32, "num_channels": 3, "image_size": 32, "patch_size": 16}
TOWER |= {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
ENCODER = {"audio_encoding_args": {"num_mel_bins": 16}, "dim": 32, "n_layers": 2}
ENCODER |= {"hidden_dim": 64, "n_heads": 2}
WHOLE: dict[str, Params] = {
    "dense": {**SMALL, "sliding_window": [8, None], "max_position_embeddings": 4096},
    "experts": {**SMALL, "moe": EXPERTS, "quantization": {"qformat_weight": "fp8_e4m3"}},
    "latent": {**SMALL, **LATENT, "moe": {**EXPERTS, **SPARSE}},
    "seeing": {**SMALL, "vision_encoder": TOWER, "tied_embeddings": True},
    "seeing too": {**SMALL, "multimodal": {"vision_encoder_args": TOWER}},
    "hearing": {**SMALL, "multimodal": {"whisper_model_args": {"encoder_args": ENCODER}}},
}
ODD: tuple[Any, ...] = (None, "8", "x", 0, -1, 2.5, True, [], [1], ["x"], {}, {"x": 1})


def with_odd(params: Mapping[str, Any]) -> Iterator[Params]:
    """A file with one value, however deep, replaced by an odd one or left out."""
    for name, value in params.items():
        yield {key: one for key, one in params.items() if key != name}
        yield from ({**params, name: odd} for odd in ODD)
        if isinstance(value, Mapping):
            yield from ({**params, name: inner} for inner in with_odd(value))


@pytest.mark.parametrize("kind", WHOLE)
def test_an_odd_file_is_sized_or_refused(kind: str):
    """One value of another kind, or missing, is never an error of Python's own."""
    assert model_facts(as_config(WHOLE[kind])).total_parameters > 0
    refused = 0
    for params in with_odd(WHOLE[kind]):
        try:
            model_facts(as_config(params))
        except ModalkitError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"moe": {"num_experts": 8}}, r"'moe\.num_experts_per_tok' .* whole number .* got None"),
        ({"moe": [1]}, r"'moe' .* must be an object, got \[1\]"),
        ({"n_layers": "32", "sliding_window": [8]}, r"'n_layers' .* got '32'"),
        ({"dim": None}, r"'dim' .* got None"),
        ({"sliding_window": []}, r"'sliding_window' .* 4 layers repeat, got \[\]"),
        ({"sliding_window": [8, None, 8]}, r"'sliding_window' .* 4 layers repeat"),
        ({"quantization": "fp8"}, r"'quantization' .* must be an object, got 'fp8'"),
        ({"multimodal": "x"}, r"'multimodal' .* must be an object, got 'x'"),
        (
            {"multimodal": {"whisper_model_args": {"encoder_args": {**ENCODER, "dim": "x"}}}},
            r"'multimodal\.whisper_model_args\.encoder_args\.dim' .* got 'x'",
        ),
    ],
)
def test_an_odd_value_is_named_with_its_place(odd: Params, message: str):
    """What is refused is the field, by its path in the file, with what it holds and what it must be."""
    with pytest.raises(SizingError, match=message) as refused:
        as_config(SMALL | odd)
    assert "params.json" in str(refused.value)


def test_null_is_the_same_as_nothing(tmp_path: Path):
    """A field that is null has its default, as one that is left out has; queries may have no latent."""
    plain = model_facts(as_config(SMALL))
    assert plain.max_context == 128_000
    nothing = dict.fromkeys(("max_position_embeddings", "moe", "quantization", "sliding_window"))
    assert model_facts(as_config(SMALL | nothing)) == plain
    (tmp_path / "params.json").write_text(json.dumps(SMALL | nothing))
    assert read_model(tmp_path).max_context == 128_000
    latent = SMALL | LATENT | {"moe": {**EXPERTS, **SPARSE}}
    whole = model_facts(as_config(latent)).total_parameters
    direct = model_facts(as_config(latent | {"q_lora_rank": None})).total_parameters
    assert whole - direct == 4 * (64 * 32 + 32 + 32 * 4 * 24 - 64 * 4 * 24)


def test_the_type_in_the_file_is_mistrals_own():
    """``"model_type": "transformer"`` is what Mistral calls it, not which class reads it."""
    named = model_facts(as_config(SMALL | {"model_type": "transformer"}))
    assert named == model_facts(as_config(SMALL))
