"""SGLang's overlapped start: what is refused beside it, held to the real SGLang's own list."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from modalkit import ColdStart, GPUProfile, LoRA, ModelService, SGLang, plan_service
from modalkit.engines import Launch, Speculative
from modalkit.errors import DeclarationError, PlanError

OVERLAP = ("--startup-weight-load-mode", "overlap")
# Every reason of SGLang 0.5.23. These are looked for in what is declared:
TOLD = {
    "CUDA graph capture is disabled",
    "DefaultModelLoader only",
    "load format must be auto or safetensors",
    "draft workers are not supported",
    "draft model loading is unsupported",
    "speculative decoding is not supported",
    "only TP1 and TP2 are supported",
    "pipeline parallelism is not supported",
    "data parallelism is not supported",
    "expert parallelism is not supported",
    "CPU offload is not supported",
    "memory saver is not supported",
    "CPU weight backup is not supported",
    "LoRA is not supported",
    "safetensors mmap must be enabled",
    "dropping the page cache during load is not supported",
    "custom weight loaders are not supported",
    "torch.compile is not supported",
    "FP16 or BF16 only",
    "quantization is not supported",
    "ModelOpt is not supported",
    "generation models only",
}
# and these only the model's files, the machine or flags without a field tell.
FOUND_LATER = {
    "CUDA only",
    "tc_piecewise prefill CUDA graphs are not supported",
    "attention context parallelism is not supported",
    "decode context parallelism is not supported",
    "layer-group offloading is not supported",
    "multimodal models are not supported",
    "model architecture is not in the startup-overlap allowlist",
}


def launch(gpus: int = 1) -> Launch:
    return Launch(model="org/model", served_name="m", gpu_count=gpus)


@pytest.mark.parametrize(
    ("fields", "gpus"),
    [
        ({"cuda_graphs": False}, 1),
        ({"load_format": "fastsafetensors"}, 1),
        ({"speculative": Speculative(method="ngram")}, 1),
        ({}, 4),
        ({"pipeline_parallel": 2}, 2),
        ({"data_parallel": 2}, 2),
        ({"expert_parallel": 2}, 2),
        ({"lora": [LoRA("a", "org/a")]}, 1),
        ({"quantization": "fp8"}, 1),
        ({"dtype": "float32"}, 1),
        ({"task": "embed"}, 1),
        ({"extra_args": (*OVERLAP, "--cpu-offload-gb", "4")}, 1),
        ({"extra_args": (*OVERLAP, "--enable-torch-compile")}, 1),
    ],
)
def test_what_sglang_would_refuse_is_refused_before_it_starts(fields, gpus):
    """The container would come up and end; the message names both flags."""
    engine = SGLang(**{"extra_args": OVERLAP, **fields})
    with pytest.raises(DeclarationError, match="'--startup-weight-load-mode overlap' does not go"):
        engine.argv(launch(gpus))
    without = tuple(word for word in engine.extra_args if word not in OVERLAP)
    engine.model_copy(update={"extra_args": without}).argv(launch(gpus))


@pytest.mark.parametrize(
    ("fields", "gpus"),
    [
        ({}, 1),
        ({}, 2),
        ({"dtype": "bfloat16", "load_format": "safetensors", "context_length": 4096}, 1),
        ({"extra_args": (*OVERLAP, "--cuda-graph-backend-prefill", "disabled")}, 1),
        ({"extra_args": ("--startup-weight-load-mode", "serial"), "quantization": "fp8"}, 1),
    ],
)
def test_what_sglang_takes_passes(fields, gpus):
    """On one GPU or two, in 16 bits, with a phase left whose graphs are captured, or in turn."""
    assert "--startup-weight-load-mode" in SGLang(**{"extra_args": OVERLAP, **fields}).argv(
        launch(gpus)
    )


def test_a_snapshot_of_the_gpu_does_not_go_with_it():
    """Its memory saver is one of the flags that SGLang refuses."""

    class Chat(ModelService):
        model = "Qwen/Qwen3-8B"
        engine = SGLang(extra_args=OVERLAP)
        gpu = GPUProfile("L40S")
        cold_start = ColdStart(snapshot="gpu")

    with pytest.raises((PlanError, DeclarationError), match="--enable-memory-saver"):
        plan_service(Chat)
    Chat.cold_start = ColdStart()
    assert OVERLAP[0] in plan_service(Chat).engine.argv


@pytest.mark.engines
def test_sglangs_own_list_is_the_one_that_was_read(engine_python):
    """A release that refuses more, or less, has to be looked at again."""
    package = Path(engine_python("sglang")).parents[1] / "lib"
    (file,) = package.glob(
        "python*/site-packages/sglang/srt/model_executor/model_runner_components/startup_weight_load.py"
    )
    rules = next(
        node
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == "_get_unsupported_reason"
    )
    reasons = [
        node.elts[1].value
        for node in ast.walk(rules)
        if isinstance(node, ast.Tuple)
        and len(node.elts) == 2
        and isinstance(node.elts[1], ast.Constant)
    ]
    assert {one for one in reasons if isinstance(one, str)} == TOLD | FOUND_LATER
