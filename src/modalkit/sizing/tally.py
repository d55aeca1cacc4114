"""A model's parameters added up: how many, in how many bytes, and how a split treats them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from .configs import Settings
from .dtypes import bytes_of
from .formats import Format, Quantization
from .kinds import kind_of
from .layouts import Parameter
from .module_names import is_speech, is_tower, is_whole
from .parts import Division, Kind, Place, WeightPart

__all__ = ["Tally"]

# Experts a token passes through: the names configs give the count, in the order they are looked up.
_EXPERTS_PER_TOKEN = (
    "num_experts_per_tok",
    "top_k_experts",
    "num_experts_per_token",
    "moe_k",
    "moe_top_k",
    "moe_topk",
    "ffn_config.moe_top_k",  # DBRX
)

# Where the stages of a pipeline have what is in no layer; what is not named here is on every one.
_PLACES = {Kind.EMBEDDINGS: Place.FIRST, Kind.HEAD: Place.LAST, Kind.NORMS: Place.LAST}

_ORDER = {kind: number for number, kind in enumerate(Kind)}


class _Sort(NamedTuple):
    """What parameters have in common that are counted together."""

    kind: Kind
    division: Division
    place: Place
    format: Format | None = None
    layers: tuple[int, ...] = ()


class Tally:
    """Adds up a model's parameters and bytes.

    Args:
        settings: Those of the text model.
        quantization: What the checkpoint's quantisation covers.
        dtype: The type of a weight that it does not cover.
        stack: The text model's stack of layers, such as ``model.layers``; empty for an encoder.

    Attributes:
        total: Every parameter once.
        active: Those a text token passes through.
        stored: Bytes of the checkpoint.
        expert_count: Routed experts of a layer.
        widths: Widths that a split of fp8 blocks divides.
        expert_widths: The same of routed experts.
        lora_width: Rows and columns of the layers' linear maps, routed experts aside.
    """

    def __init__(
        self, settings: Settings, quantization: Quantization | None, dtype: str, stack: str
    ) -> None:
        self.total = 0
        self.active = self.stored = 0.0
        self.expert_count = 0
        self._settings, self._quantization = settings, quantization
        self._dtype, self._bytes = dtype, bytes_of(dtype)
        self._inside = f"{stack}.{{}}." if stack else ""
        self.widths: set[int] = set()
        self.expert_widths: set[int] = set()
        self.lora_width = 0
        self._by_layer: dict[int, float] = {}
        self._counts: dict[_Sort, int] = {}
        self._per_token = self._experts_per_token()

    def add(self, one: Parameter) -> None:
        """Count one parameter."""
        elements = math.prod(one.shape) * one.copies
        self.total += one.elements
        if not (is_tower(one.name) or is_speech(one.name)):
            self.active += one.elements * self._active_share(one)
        kind, division, place = self._sorted(one)
        for group, packed in self._groups(one):
            count = elements * max(1, len(group))
            self.stored += count * (packed.bytes_per_weight if packed else self._bytes)
            layers = group if place is Place.LAYERS else ()
            sort = _Sort(kind, division, place, packed, layers)
            self._counts[sort] = self._counts.get(sort, 0) + count
        if _takes_adapters(one):
            self.lora_width += (
                sum(one.shape) * len(one.layers) * (0 if _is_expert(one) else one.copies)
            )
        if one.layers:
            last = one.layers[-1]
            size = elements * self._one_size(one, last)
            self._by_layer[last] = self._by_layer.get(last, 0.0) + size

    @property
    def head_parameters(self) -> int:
        """Parameters of the output head; 0 where it is the embedding."""
        return sum(count for sort, count in self._counts.items() if sort.kind is Kind.HEAD)

    def parts(self) -> tuple[WeightPart, ...]:
        """Return the weights by kind, as an engine keeps them: float32 is loaded as 16 bit."""
        tied = not self.head_parameters
        ordered = sorted(self._counts.items(), key=lambda item: _ORDER[item[0].kind])
        return tuple(self._part(sort, count, tied=tied) for sort, count in ordered)

    def _part(self, sort: _Sort, count: int, *, tied: bool) -> WeightPart:
        loaded = min(self._bytes, 2)
        each = sort.format.bytes_per_weight if sort.format else loaded
        usual = self._dtype if loaded == self._bytes else f"{self._dtype} loaded as 16 bit"
        at_ends = tied and sort.kind is Kind.EMBEDDINGS and sort.place is Place.FIRST
        return WeightPart(
            sort.kind,
            sort.division,
            Place.ENDS if at_ends else sort.place,
            count,
            round(count * each),
            sort.format.name if sort.format else usual,
            sort.layers,
        )

    def prediction_bytes(self) -> int:
        """Return the bytes of multi-token-prediction layers: each the last layer and a projection.

        The projection makes one state of two. Such layers are stored but loaded only to speculate.
        """
        count = self._settings.number("num_nextn_predict_layers", "mtp_num_hidden_layers")
        last = self._by_layer[max(self._by_layer)] if self._by_layer else 0.0
        hidden = self._settings.number("hidden_size")
        return round(count * (last + 2.0 * self._bytes * hidden * hidden))

    def _groups(self, one: Parameter) -> Iterable[tuple[tuple[int, ...], Format | None]]:
        """Yield the layers that store it alike, and their format; None for the checkpoint's type."""
        if self._quantization is None:
            return [(one.layers, None)]
        if not one.layers:
            return [((), self._format(one, None))]
        groups = self._quantization.alike(one.layers)
        return [(group, self._format(one, group[0])) for group in groups]

    def _format(self, one: Parameter, layer: int | None) -> Format | None:
        kind = self._quantization.format_of(one, layer) if self._quantization else None
        if kind is not None and kind.block and "intermediate" not in one.name:
            self._note_width(one, kind.block)
        return kind

    def _one_size(self, one: Parameter, layer: int) -> float:
        kind = self._quantization.format_of(one, layer) if self._quantization else None
        return kind.bytes_per_weight if kind else self._bytes

    def _note_width(self, one: Parameter, block: int) -> None:
        """Remember the width that a split of a feed-forward layer divides."""
        if one.name.endswith("down_proj.weight") or one.name.endswith("down_proj"):
            width = one.shape[-1]
            if width >= block:
                whole = (
                    _is_expert(one) or "shared" in one.name
                )  # spread whole experts leave both whole
                (self.expert_widths if whole else self.widths).add(width)

    def _sorted(self, one: Parameter) -> tuple[Kind, Division, Place]:
        """Say what it is for, how a split treats it, and which stages of a pipeline have it."""
        expert, router = _is_expert(one), _is_router(one.name)
        inside = bool(one.layers) and one.name.startswith(self._inside)
        if expert:
            count = one.shape[0] if _fused(one) else one.copies
            self.expert_count = max(self.expert_count, count)
        kind = kind_of(one.name, inside=inside, expert=expert, router=router)
        place = Place.LAYERS if inside else _PLACES.get(kind, Place.EVERY)
        return kind, _division(one, kind), place

    def _active_share(self, one: Parameter) -> float:
        if not _is_expert(one) or not self._per_token:
            return 1.0
        experts = one.shape[0] if _fused(one) else one.copies
        return min(1.0, self._per_token / experts) if experts > 1 else 1.0

    def _experts_per_token(self) -> int:
        """Experts a token passes through; the most of any layer where a config lists them (Hunyuan)."""
        listed = (self._settings.get(name) for name in _EXPERTS_PER_TOKEN)
        each = [int(one) for said in listed if isinstance(said, list) for one in said]
        return max(0, self._settings.number(*_EXPERTS_PER_TOKEN), *each)


def _division(one: Parameter, kind: Kind) -> Division:
    if kind is Kind.EXPERTS:
        return Division.EXPERTS
    if len(one.shape) < 2 or "_a_proj" in one.name or kind is Kind.ROUTERS:  # noqa: PLR2004 - vectors
        return Division.WHOLE
    heads = kind is Kind.ATTENTION and one.name.endswith(("k_proj.weight", "v_proj.weight"))
    return Division.HEADS if heads else Division.TENSOR


def _is_expert(one: Parameter) -> bool:
    return ".experts" in one.name and "shared" not in one.name and (_fused(one) or one.copies > 1)


def _fused(one: Parameter) -> bool:
    """Whether every expert is in one tensor."""
    return len(one.shape) == 3  # noqa: PLR2004 - experts, rows, columns


def _takes_adapters(one: Parameter) -> bool:
    """Whether it is a linear map of a layer that answers in text."""
    is_map = len(one.shape) == 2 and bool(one.layers)  # noqa: PLR2004 - rows and columns
    return is_map and not is_whole(one.name) and not is_speech(one.name)


def _is_router(name: str) -> bool:
    return ".gate." in name or "router" in name
