"""Which weights a quantisation covers, as checkpoints write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.sizing.formats import quantization_of
from modalkit.sizing.layouts import Parameter

LAYERS = tuple(range(24))
PATTERNS = st.lists(
    st.sampled_from(
        [f"model.layers.{n}{end}" for n in (0, 1, 2, 12) for end in ("*", ".mlp.up_proj", ".mlp*")]
        + ["lm_head", "*self_attn*", "re:.*layers\\.1\\..*", "re:.*up_proj"]
    ),
    max_size=6,
)


@given(PATTERNS)
def test_alike_layers_are_stored_alike(ignored):
    """Layers grouped as alike have the same format for every parameter."""
    found = quantization_of({"quantization_config": {"quant_method": "fp8", "ignore": ignored}})
    assert found is not None
    for name in ("model.layers.{}.mlp.up_proj.weight", "model.layers.{}.self_attn.q_proj.weight"):
        one = Parameter(name, (64, 64), LAYERS)
        groups = found.alike(LAYERS)
        assert sorted(layer for group in groups for layer in group) == list(LAYERS)
        for group in groups:
            assert len({found.format_of(one, layer) for layer in group}) == 1


@pytest.mark.parametrize(
    ("ignored", "name", "covered"),
    [
        (["gate"], "model.layers.{}.mlp.gate_proj.weight", True),
        (["mlp"], "model.layers.{}.mlp.up_proj.weight", False),
        (["model.layers.1"], "model.layers.{}.mlp.up_proj.weight", False),
        (["model.layers.11"], "model.layers.{}.mlp.up_proj.weight", True),
        (["*self_attn*"], "model.language_model.layers.{}.self_attn.q_proj.weight", False),
        (["re:.*self_attn.*"], "model.layers.{}.self_attn.q_proj.weight", False),
        ([], "lm_head.weight", False),
        ([], "model.layers.{}.mlp.gate.weight", False),
        ([], "model.visual.blocks.{}.mlp.fc1.weight", False),
    ],
)
def test_what_is_left_out(ignored: list[str], name: str, covered: bool):
    """A name leaves out whole dotted parts; heads, routers and towers are never quantised."""
    found = quantization_of({"quantization_config": {"quant_method": "fp8", "ignore": ignored}})
    assert found is not None
    assert (found.format_of(Parameter(name, (64, 64), (1,)), 1) is not None) is covered
