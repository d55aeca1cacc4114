"""A model's weights by kind: what they are, where a pipeline puts them, how a split treats them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from ..errors import DeclarationError
from .least import refuse_below

__all__ = ["Division", "Kind", "Place", "WeightPart", "layers_of", "written_layers"]


class Kind(StrEnum):
    """What weights are for, in the order a breakdown lists them."""

    EMBEDDINGS = "embeddings"
    ATTENTION = "attention"
    RECURRENT = "linear attention and Mamba"
    MLP = "MLP"
    EXPERTS = "experts"
    ROUTERS = "routers"
    NORMS = "norms"
    HEAD = "output head"
    ENCODER = "encoder"
    VISION = "vision tower"
    AUDIO = "audio tower"
    PROJECTOR = "projector"
    SPEECH = "speech output"
    OTHER = "other weights"
    UNEXPLAINED = "in the files beyond the config"
    STATED = "weights as stated"


class Division(StrEnum):
    """Over which ranks weights are divided."""

    TENSOR = "tensor"
    HEADS = "key-value heads"
    EXPERTS = "experts"
    WHOLE = "whole"


class Place(StrEnum):
    """Which stages of a pipeline have weights."""

    LAYERS = "its layers"
    FIRST = "the first stage"
    LAST = "the last stage"
    ENDS = "the first and the last stage"
    EVERY = "every stage"
    EVENLY = "evenly"


@dataclass(frozen=True, slots=True)
class WeightPart:
    """Weights of one kind, in one format.

    Attributes:
        kind: What they are for.
        division: Over which ranks they are divided.
        place: Which stages of a pipeline have them.
        parameters: How many in all; 0 where only the bytes are known.
        bytes: As an engine keeps them, of all of them.
        format: Such as ``"bfloat16"`` or ``"fp8"``.
        layers: The layers that have them, each as many; empty unless they are in ``LAYERS``.

    Raises:
        DeclarationError: A count below 0, or ``LAYERS`` without layers.
    """

    kind: Kind
    division: Division
    place: Place
    parameters: int
    bytes: int
    format: str
    layers: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        refuse_below(self, {"parameters": 0, "bytes": 0})
        if (self.place is Place.LAYERS) is not bool(self.layers):
            msg = f"WeightPart.layers must name the layers where place is {Place.LAYERS.value!r}, and only there, got {self.layers!r}."
            raise DeclarationError(msg)

    @property
    def name(self) -> str:
        """What a breakdown calls it."""
        if self.kind is Kind.NORMS and self.place is not Place.LAYERS:
            return "final norm"
        return (
            f"{self.kind}, keys and values" if self.division is Division.HEADS else str(self.kind)
        )


def written_layers(layers: Iterable[int]) -> str:
    """Write layers as runs: ``"0-2,5"``."""
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def layers_of(text: str) -> tuple[int, ...]:
    """Read what `written_layers` wrote.

    Raises:
        ValueError: It is something else.
    """
    ends = [run.partition("-") for run in text.split(",") if run]
    return tuple(
        layer for first, _, last in ends for layer in range(int(first), int(last or first) + 1)
    )
