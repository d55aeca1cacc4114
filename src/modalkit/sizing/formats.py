"""How many bytes a quantised weight takes, and which weights a checkpoint's quantisation covers.

Bytes per quantised weight, by format (weights plus their scales):

    fp8, one scale per tensor or channel      1
    fp8, blocks of 128 x 128                  1 + 4 / 16384
    mxfp4, groups of 32                       0.5 + 1 / 32
    nvfp4, groups of 16                       0.5 + 1 / 16
    int4 or int8 in groups of g               bits / 8 + 2 / g    (compressed-tensors)
    AWQ, GPTQ in groups of g                  bits / 8 + (2 + bits / 8) / g
    bitsandbytes nf4                          0.5 + 4 / 64; double quantisation 0.5 + 1 / 64 + 4 / 16384
    bitsandbytes int8                         1

Sources: the published sizes of gpt-oss-120b (exact), Kimi-K2.5 (-0.01 %), MiniMax-M2.7 (-0.05 %); nvfp4
and bitsandbytes by their papers' block sizes, not compared with a file.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import SizingError
from .by_hand import BY_HAND
from .layouts import Parameter
from .module_names import alike, canonical, is_whole, matcher, runs

__all__ = ["Format", "Quantization", "quantization_of"]

_EXPERT = re.compile(r"expert")


@dataclass(frozen=True, slots=True)
class Format:
    """One format of quantised weights.

    Attributes:
        name: Such as ``"fp8"`` or ``"awq int4"``.
        bytes_per_weight: With its scales.
        bits: Of a weight itself.
        block: Rows and columns of a block that shares a scale, where both matter.
    """

    name: str
    bytes_per_weight: float
    bits: float
    block: int = 0


@dataclass(frozen=True, slots=True)
class Quantization:
    """What a checkpoint's quantisation covers.

    Attributes:
        format: What most quantised weights are.
        exempt: Names, globs and ``re:`` patterns of modules left in the checkpoint's type.
        only: If given, nothing else is quantised.
        special: Formats of single modules, by pattern, before ``format``.
        experts_only: Only experts are quantised.
        named: Those of ``special`` that name a module.
        patterns: The rest of ``special``.
    """

    format: Format
    exempt: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    special: tuple[tuple[str, Format], ...] = ()
    experts_only: bool = False
    named: Mapping[str, Format] = field(init=False, repr=False, compare=False)
    patterns: tuple[tuple[str, Format], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Part the special names that are looked up from those that are tried."""
        tried = [one[0].startswith("re:") or "*" in one[0] for one in self.special]
        parted = list(zip(self.special, tried, strict=True))
        named = {canonical(name): kind for (name, kind), pattern in parted if not pattern}
        object.__setattr__(self, "named", named)
        object.__setattr__(self, "patterns", tuple(one for one, pattern in parted if pattern))

    def format_of(self, parameter: Parameter, layer: int | None) -> Format | None:
        """Return how one layer's parameter is stored, or None if in the checkpoint's own type."""
        if len(parameter.shape) < 2 or is_whole(parameter.name):  # noqa: PLR2004 - a vector
            return None
        name = canonical(
            parameter.name if layer is None else parameter.name.format(layer, *[0] * 4)
        )
        if self.experts_only and not _EXPERT.search(name):
            return None
        if matcher(self.exempt).hits(name):
            return None
        if special := self._special(name):
            return special
        if self.only and not matcher(self.only).hits(name):
            return None
        return self.format

    def _special(self, name: str) -> Format | None:
        """Return the format that is said of a module alone; whole names come before patterns."""
        for run in runs(name) if self.named else ():
            if run in self.named:
                return self.named[run]
        return next((kind for said, kind in self.patterns if matcher((said,)).hits(name)), None)

    def alike(self, layers: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Group layers of which the same is said, so that one of each group tells of all."""
        patterns = (*self.exempt, *self.only, *(name for name, _ in self.special))
        if not _name_layers(patterns):
            return (layers,) if layers else ()
        return alike(patterns, layers)


@functools.lru_cache(maxsize=64)
def _name_layers(patterns: tuple[str, ...]) -> bool:
    """Whether patterns name single layers, so that equal layers may differ."""
    return any(re.search(r"\d", one) for one in patterns)


def quantization_of(
    raw: dict[str, Any], described: dict[str, Any] | None = None
) -> Quantization | None:
    """Return what a config's quantisation covers, or None for a plain checkpoint.

    Args:
        raw: A parsed ``config.json``.
        described: A parsed ``hf_quant_config.json`` (NVIDIA ModelOpt), if the repository has one.

    Raises:
        SizingError: A method this version does not know.
    """
    settings: Any = raw.get("quantization_config") or (raw.get("text_config") or {}).get(
        "quantization_config"
    )
    if described and (modelopt := described.get("quantization")):
        settings = {**(settings or {}), **modelopt, "quant_method": "modelopt"}
    if not settings:
        return None
    method = _method(settings)
    if method not in _METHODS:
        known = ", ".join(sorted(_METHODS))
        msg = f"The quantisation {method!r} is not one this version can size; it knows {known}. {BY_HAND}"
        raise SizingError(msg)
    return _METHODS[method](settings)


def _method(settings: dict[str, Any]) -> str:
    method = str(settings.get("quant_method") or "").lower().replace("_", "-")
    if not method and (settings.get("quant_algo") or "producer" in settings):
        return "modelopt"
    if "algo" in str(settings.get("quant_algo", "")).lower() or (
        settings.get("moe_quant_algo") and method in {"", "fp8"}
    ):
        return "modelopt"
    return method


def _names(settings: dict[str, Any], *keys: str) -> tuple[str, ...]:
    return tuple(str(name) for key in keys for name in (settings.get(key) or ()))


def _grouped(bits: float, group: int, *, zero_points: bool = False) -> float:
    if group <= 0:
        return bits / 8
    return bits / 8 + (2 + (bits / 8 if zero_points else 0)) / group


def _fp8(settings: dict[str, Any]) -> Quantization:
    block: Any = settings.get("weight_block_size")
    square = int(block[0]) * int(block[1]) if block else 0
    size = 1 + 4 / square if square else 1.0
    kind = Format("fp8", size, 8, int(block[0]) if block else 0)
    return Quantization(
        kind, _names(settings, "modules_to_not_convert", "ignored_layers", "ignore")
    )


def _integer(name: str) -> Callable[[dict[str, Any]], Quantization]:
    def read(settings: dict[str, Any]) -> Quantization:
        bits = int(settings.get("bits") or settings.get("w_bit") or 4)
        group = int(settings.get("group_size") or settings.get("q_group_size") or 128)
        size = _grouped(bits, group, zero_points=True)
        rules: dict[str, Any] = settings.get("dynamic") or {}
        exempt = [f"re:{rule[2:]}" for rule in rules if rule.startswith("-:")]
        names = _names(settings, "modules_to_not_convert", "modules_in_block_to_not_quantize")
        return Quantization(Format(f"{name} int{bits}", size, bits), (*names, *exempt))

    return read


def _bitsandbytes(settings: dict[str, Any]) -> Quantization:
    names = _names(settings, "llm_int8_skip_modules")
    if settings.get("load_in_4bit") or settings.get("_load_in_4bit"):
        double = bool(settings.get("bnb_4bit_use_double_quant"))
        scales = 1 / 64 + 4 / 16384 if double else 4 / 64
        return Quantization(Format("bitsandbytes nf4", 0.5 + scales, 4), names)
    return Quantization(Format("bitsandbytes int8", 1.0, 8), names)


def _mxfp4(settings: dict[str, Any]) -> Quantization:
    names = _names(settings, "modules_to_not_convert")
    return Quantization(Format("mxfp4", 0.5 + 1 / 32, 4), names, experts_only=True)


def _compressed_tensors(settings: dict[str, Any]) -> Quantization:
    groups: dict[str, Any] = settings.get("config_groups") or {}
    found: list[tuple[tuple[str, ...], Format]] = []
    for group in groups.values():
        style = str(group.get("format") or settings.get("format") or "")
        found.append((_names(group, "targets"), _scheme(group.get("weights") or {}, style)))
    if not found:
        found = [((), _by_style(str(settings.get("format") or settings.get("quant_method"))))]
    general = next(
        (kind for targets, kind in found if not targets or "Linear" in targets), found[0][1]
    )
    special = tuple(
        (target, kind)
        for targets, kind in found
        for target in targets
        if target not in {"Linear", "Embedding"}
    )
    everything = any(not targets or "Linear" in targets for targets, _ in found)
    only = () if everything else tuple(target for targets, _ in found for target in targets)
    return Quantization(general, _names(settings, "ignore", "exclude_modules"), only, special)


def _scheme(weights: dict[str, Any], style: str) -> Format:
    bits, kind = float(weights.get("num_bits") or 8), str(weights.get("type") or "float")
    group = int(weights.get("group_size") or 0)
    if "mxfp4" in style or (kind == "float" and bits == 4 and group == 32):  # noqa: PLR2004
        return Format("mxfp4", 0.5 + 1 / 32, 4)
    if kind == "float" and bits == 4:  # noqa: PLR2004
        return Format("nvfp4", 0.5 + 1 / (group or 16), 4)
    if kind == "float":
        block: Any = weights.get("block_structure")
        square = (
            int(block[0]) * int(block[1])
            if isinstance(block, Sequence) and not isinstance(block, str)
            else 0
        )
        return Format("fp8", 1 + (4 / square if square else 0), 8, int(block[0]) if square else 0)
    return Format(f"int{bits:g}", _grouped(bits, group), bits)


def _by_style(style: str) -> Format:
    """Return the format that a short name alone stands for."""
    for word, kind in (
        ("mxfp4", Format("mxfp4", 0.5 + 1 / 32, 4)),
        ("nvfp4", Format("nvfp4", 0.5 + 1 / 16, 4)),
        ("pack", Format("int4", 0.5 + 2 / 32, 4)),
        ("int", Format("int8", 1.0, 8)),
        ("float", Format("fp8", 1.0, 8)),
    ):
        if word in style:
            return kind
    msg = f"The compressed-tensors format {style!r} is not one this version can size. {BY_HAND}"
    raise SizingError(msg)


def _modelopt(settings: dict[str, Any]) -> Quantization:
    exempt = _names(settings, "ignore", "exclude_modules", "modules_to_not_convert")
    algorithm = str(settings.get("quant_algo") or "").upper()
    if settings.get("config_groups") and "MIXED" not in algorithm:
        return _compressed_tensors({**settings, "ignore": exempt})
    layers: dict[str, Any] = settings.get("quantized_layers") or {}
    if "MIXED" in algorithm and layers:
        special = tuple(
            (name, _algorithm(str(one.get("quant_algo")))) for name, one in layers.items()
        )
        return Quantization(special[0][1], exempt, tuple(layers), special)
    if "MIXED" in algorithm:
        experts = _algorithm(str(settings.get("moe_quant_algo") or "NVFP4"))
        return Quantization(_algorithm("FP8"), (), (), (("re:.*experts.*", experts),))
    return Quantization(_algorithm(algorithm), exempt)


def _algorithm(name: str) -> Format:
    for word, kind in (
        ("NVFP4", Format("nvfp4", 0.5 + 1 / 16, 4)),
        ("MXFP4", Format("mxfp4", 0.5 + 1 / 32, 4)),
        ("W4A", Format("int4", 0.5 + 2 / 128, 4)),
        ("FP8", Format("fp8", 1.0, 8)),
        ("INT8", Format("int8", 1.0, 8)),
    ):
        if word in name:
            return kind
    msg = f"The ModelOpt algorithm {name!r} is not one this version can size. {BY_HAND}"
    raise SizingError(msg)


_METHODS: dict[str, Callable[[dict[str, Any]], Quantization]] = {
    "fp8": _fp8,
    "fbgemm-fp8": _fp8,
    "awq": _integer("awq"),
    "gptq": _integer("gptq"),
    "auto-round": _integer("auto-round"),
    "bitsandbytes": _bitsandbytes,
    "mxfp4": _mxfp4,
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
    "float-quantized": _compressed_tensors,
    "pack-quantized": _compressed_tensors,
    "nvfp4-pack-quantized": _compressed_tensors,
    "mxfp4-pack-quantized": _compressed_tensors,
    "int-quantized": _compressed_tensors,
}
