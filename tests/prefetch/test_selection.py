"""Which files of a repository are fetched: those an engine reads, once, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.errors import HubError
from modalkit.prefetch.files import SourceFile
from modalkit.prefetch.selection import needed_files

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"
SMALL = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
NOISE = [
    *("README.md", "LICENSE", ".gitattributes", "assets/logo.png", "figures/loss.json"),
    *("original/consolidated.00.pth", "original/params.json", "consolidated.safetensors"),
    *("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.onnx", "onnx/model.onnx"),
    *("metal/model.bin", "onnx/config.json", "training_args.bin", "runs/events.json"),
    *("model-Q4_K_M.gguf", "model.fp16.safetensors", "checkpoint-100/model.safetensors"),
]


def chosen(names: list[str], content: dict[str, object] | None = None, **options) -> list[str]:
    files = [SourceFile(name, 10) for name in names]
    found = needed_files(files, (content or {}).__getitem__, **options)
    return [file.name for file in found]


def index_of(*names: str) -> dict[str, object]:
    return {"weight_map": {f"layer.{number}": name for number, name in enumerate(names)}}


def test_the_weight_map_decides():
    """Of everything a repository has, the map's shards, the tokenizer and the configuration."""
    found = chosen([*SMALL, *SHARDS, INDEX, *NOISE], {INDEX: index_of(*SHARDS)})
    assert found == sorted([*SMALL, *SHARDS, INDEX])


@pytest.mark.parametrize(
    ("there", "loaded"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["pytorch_model.bin", "tf_model.h5"], ["pytorch_model.bin"]),
        (["pytorch_model.bin", "consolidated.safetensors"], ["consolidated.safetensors"]),
        (["model.safetensors", "consolidated.safetensors"], ["model.safetensors"]),
        (["adapter_model.safetensors", "pytorch_model.bin"], ["adapter_model.safetensors"]),
        (["adapter_model.safetensors", "adapter_model.bin"], ["adapter_model.safetensors"]),
        (["consolidated.safetensors"], ["consolidated.safetensors"]),
        (["a.safetensors", "b.safetensors", "x.bin"], ["a.safetensors", "b.safetensors"]),
    ],
)
def test_without_an_index_the_first_format(there, loaded):
    """One set of weights, in the order engines look for them."""
    assert chosen(["config.json", *there]) == sorted(["config.json", *loaded])


def test_code_and_chat_templates_come_along():
    """Python that belongs to the model and templates are read; pictures of them are not."""
    names = ["config.json", "modeling_x.py", "layers/attention.py", "chat_template.jinja"]
    templates = ["additional_chat_templates/tool_use.jinja"]
    found = chosen([*names, *templates, "model.safetensors", "layers/plan.png"])
    assert found == sorted([*names, *templates, "model.safetensors"])


def test_every_kind_of_tokenizer_and_processor_comes_along():
    """Versioned tokenizers of Mistral's, and what makes images numbers; weights of that name do not."""
    read = ["tokenizer.model.v3", "tokenizer.model.v7m1", "tekken.json", "spiece.model"]
    seen = ["preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"]
    noise = ["model.v3.ckpt", "tokenizer.model.v3.bak"]
    found = chosen(["config.json", "model.safetensors", *read, *seen, *noise])
    assert found == sorted(["config.json", "model.safetensors", *read, *seen])


def test_sentence_transformers_modules():
    """The folders that modules.json names are read, with their own weights."""
    modules = [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]
    names = ["config.json", "modules.json", "model.safetensors", "1_Pooling/config.json"]
    dense = ["2_Dense/config.json", "2_Dense/model.safetensors"]
    found = chosen(
        [*names, *dense, "2_Dense/pytorch_model.bin", "openvino/openvino_model.bin"],
        {"modules.json": modules},
    )
    assert found == sorted([*names, *dense])


def test_diffusers_components():
    """Each component of a pipeline is read with one set of weights."""
    components = {"unet": ["diffusers", "UNet"], "vae": ["diffusers", "VAE"], "_class_name": "X"}
    unet = ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"]
    vae = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"]
    found = chosen(
        ["model_index.json", *unet, *vae, "unet/diffusion_pytorch_model.bin", "single.safetensors"],
        {"model_index.json": components},
    )
    assert set(found) >= {"model_index.json", *unet, *vae}
    assert "unet/diffusion_pytorch_model.bin" not in found


def test_include_and_exclude():
    """A pattern brings a file that is not chosen, and another keeps one out."""
    names = ["config.json", "a-Q4_K_M.gguf", "a-Q8_0.gguf", "old.py"]
    assert chosen(names, include=["*Q4_K_M.gguf"], exclude=["old.*"]) == [
        "a-Q4_K_M.gguf",
        "config.json",
    ]


def test_weights_in_no_known_format_say_what_to_write():
    """A repository of GGUF files names one of them, ready to be copied into the declaration."""
    with pytest.raises(HubError, match=r"include=\['a-Q4_K_M.gguf'\]"):
        chosen(["config.json", "a-Q4_K_M.gguf", "a-Q8_0.gguf"])
    with pytest.raises(HubError, match="no weights that are known"):
        chosen(["config.json", "README.md"])


def test_an_index_of_what_is_not_there_is_refused():
    """A shard that the index names and nobody uploaded is named; so is an index without a map."""
    with pytest.raises(HubError, match=r"names 'model-00002-of-00002\.safetensors'"):
        chosen([INDEX, SHARDS[0]], {INDEX: index_of(*SHARDS)})
    with pytest.raises(HubError, match="has no weight_map"):
        chosen([INDEX, *SHARDS], {INDEX: {"metadata": {}}})


@given(
    st.sets(st.sampled_from(NOISE)),
    st.sets(st.sampled_from(SHARDS), min_size=1),
    st.sets(st.sampled_from(SMALL)),
)
def test_noise_never_changes_the_choice(noise, shards, small):
    """Whatever else a repository holds, the chosen files are the same."""
    content = {INDEX: index_of(*sorted(shards))}
    clean = chosen([INDEX, *SHARDS, *small], content)
    assert chosen([INDEX, *SHARDS, *small, *noise], content) == clean
    assert set(clean) == {INDEX, *shards, *small}
