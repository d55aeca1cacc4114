"""What an engine makes of a checkpoint while loading it: another number format, or quantised weights.

Engines that quantise while loading do so to the linear maps of the layers: embeddings, the output head,
norms and routers stay as they are. Bytes of a weight: fp8 and int8 1, with a scale for every 32 (mxfp8)
1 + 1/32; fp4 in groups of 16 0.5 + 1/16; bitsandbytes' nf4 0.5 + 4/64.
"""

from __future__ import annotations

from dataclasses import replace

from .dtypes import bytes_of
from .facts import ModelFacts
from .model import figures_of
from .parts import Division, Kind
from .serving import EngineName

__all__ = [
    "as_loaded",
    "cache_bytes_of",
    "computes_in_float32",
    "held_by",
    "quantizes_itself",
    "reads_all_first",
]

_EIGHT = ("fp8", 1.0)
# What a 16-bit checkpoint becomes under each method that needs no quantised files: its name, its bytes.
_WHILE_LOADING: dict[str, tuple[str, float]] = {
    "fp8": _EIGHT,
    "fp8_per_tensor": _EIGHT,
    "fp8_per_channel": _EIGHT,
    "fp8_per_block": ("fp8", 1.0 + 4 / 128**2),
    "w8a8_fp8": _EIGHT,
    "int8_per_channel_weight_only": ("int8", 1.0),
    "mxfp8": ("mxfp8", 1.0 + 1 / 32),
    "nvfp4_online": ("nvfp4", 0.5 + 1 / 16),
    "nvfp4_per_token": ("nvfp4", 0.5 + 1 / 16),
    "bitsandbytes": ("bitsandbytes nf4", 0.5 + 4 / 64),
}
_EXPERTS_WHILE_LOADING = {"experts_int8": ("int8 experts", 1.0)}
_HALF, _FULL = 2.0, 4.0
# Bytes of a number in the KV cache, by the first of these that its type's name holds; DeepSeek's sparse
# layout has 656 bytes for 576 numbers: its rotated part stays at 16 bit, beside scales.
_CACHE_BYTES = (
    ("fp8_ds_mla", 656 / 576),
    ("fp8", 1.0),
    ("int8", 1.0),
    ("fp4", 0.5 + 1 / 16),
    ("k8v4", 1.0),
)


def quantizes_itself(method: str | None) -> bool:
    """Return whether a method makes quantised weights of a plain checkpoint."""
    return method in _WHILE_LOADING or method in _EXPERTS_WHILE_LOADING


def reads_all_first(engine: EngineName, method: str | None, load_format: str | None) -> bool:
    """Return whether an engine holds all weights as they are in the files before it quantises them.

    SGLang 0.5.23 does (``model_loader/loader.py``: weights are quantised after the last one was read),
    but for its layered format and bitsandbytes, whose loaders do it piece by piece. vLLM makes each
    layer when its weights are there (0.32, ``quantization/online``).
    """
    piecewise = load_format == "layered" or method == "bitsandbytes"
    return engine == "sglang" and quantizes_itself(method) and not piecewise


def as_loaded(
    model: ModelFacts,
    dtype: str | None = None,
    quantization: str | None = None,
    *,
    keeps_float32: bool = False,
) -> ModelFacts:
    """Return a model as an engine keeps it that was told these; a quantised checkpoint stays as it is.

    Args:
        model: As its checkpoint is.
        dtype: The number format asked for; None or ``"auto"`` for the checkpoint's.
        quantization: The method asked for; one that needs quantised files changes nothing.
        keeps_float32: Whether the engine loads a float32 checkpoint as it is where no format is asked
            for; vLLM and SGLang make 16 bit of it.

    Raises:
        SizingError: A number format of the checkpoint that this version does not know.
    """
    wide = computes_in_float32(model, dtype, keeps_float32=keeps_float32)
    served = model if _is_own(dtype) else model.model_copy(update={"dtype": dtype})
    if model.quantization is not None:
        return served
    if wide:
        served = _in_float32(served)
    width = _FULL if wide else min(_HALF, bytes_of(model.dtype))
    if quantization in _WHILE_LOADING:
        return _quantized(served, *_WHILE_LOADING[quantization], width)
    if quantization in _EXPERTS_WHILE_LOADING:
        return _quantized(served, *_EXPERTS_WHILE_LOADING[quantization], width, {Kind.EXPERTS})
    return served


def held_by(model: ModelFacts, engine: EngineName) -> ModelFacts:
    """Return a model without what an engine leaves in the files.

    vLLM 0.32 and SGLang 0.5.23 answer in text: they skip the weights of Qwen-Omni's talker and of its
    vocoder (``hf_to_vllm_mapper`` of ``qwen2_5_omni_thinker.py`` and ``qwen3_omni_moe_thinker.py``;
    ``enable_talker`` of ``qwen3_omni_moe.py``). Transformers builds the whole class.

    Args:
        model: As its checkpoint is.
        engine: Which engine.
    """
    if engine == "transformers" or all(one.kind is not Kind.SPEECH for one in model.parts):
        return model
    parts = tuple(one for one in model.weight_parts if one.kind is not Kind.SPEECH)
    spoken = sum(one.parameters for one in model.parts if one.kind is Kind.SPEECH)
    total = model.total_parameters - spoken
    return model.model_copy(update={"total_parameters": total, **figures_of(parts)})


def computes_in_float32(model: ModelFacts, dtype: str | None, *, keeps_float32: bool) -> bool:
    """Return whether weights and activations take four bytes each: asked for, or left as they are."""
    if _is_own(dtype):
        return keeps_float32 and bytes_of(model.dtype) == _FULL
    return dtype == "float32"


def cache_bytes_of(kv_cache_dtype: str | None, *, float32: bool) -> float:
    """Return the bytes of a number in the KV cache; 2 for a type that is not known, which is no less.

    Args:
        kv_cache_dtype: What is declared; None or ``"auto"`` for the model's own format.
        float32: Whether that is float32.
    """
    said = kv_cache_dtype or "auto"
    own = _FULL if float32 and said == "auto" else _HALF
    return next((size for word, size in _CACHE_BYTES if word in said), own)


def _is_own(dtype: str | None) -> bool:
    return dtype is None or dtype == "auto"


_LINEAR = {Kind.ATTENTION, Kind.RECURRENT, Kind.MLP, Kind.EXPERTS, Kind.STATED}


def _in_float32(model: ModelFacts) -> ModelFacts:
    wider = _FULL / _HALF
    parts = (
        replace(part, bytes=round(part.bytes * wider), format=part.format and "float32")
        for part in model.weight_parts
    )
    return model.model_copy(update=figures_of(tuple(parts)))


def _quantized(
    model: ModelFacts, name: str, bytes_per_weight: float, width: float, kinds: set[Kind] = _LINEAR
) -> ModelFacts:
    share = bytes_per_weight / width
    parts = tuple(
        replace(part, bytes=round(part.bytes * share), format=name)
        if part.kind in kinds and part.division is not Division.WHOLE
        else part
        for part in model.weight_parts
    )
    return model.model_copy(update={"quantization": name, **figures_of(parts)})
