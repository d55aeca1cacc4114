"""How a model is spread over GPUs: what an engine was told of it, and whether the model divides so."""

from __future__ import annotations

from dataclasses import dataclass

from .facts import ModelFacts
from .memory import Split

__all__ = ["MOST_GPUS", "Parallelism", "Spread"]

MOST_GPUS = 8


@dataclass(frozen=True, slots=True)
class Spread:
    """A model over a number of GPUs.

    Attributes:
        split: How.
        problem: Why it does not divide so; empty where it does.
        cure: What the engine would have to be told for it to divide; empty where nothing helps.
    """

    split: Split
    problem: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """What an engine is told of spreading a model; the number of GPUs decides the rest.

    Attributes:
        tensor: Ranks that share every layer; None for all GPUs that the other two leave.
        pipeline: Groups of consecutive layers.
        data: Copies that answer different requests.
        attention_data: Copies of the attention alone, among the tensor ranks (SGLang).
        experts: Ranks that have whole experts each, instead of all having a part of every one; True for
            all ranks, False for none, None for whichever the model divides by.
        experts_shared: Whether copies have the routed experts together (vLLM), or each all of them.
        most: GPUs that the engine makes use of.
    """

    tensor: int | None = None
    pipeline: int = 1
    data: int = 1
    attention_data: int = 1
    experts: int | bool | None = None
    experts_shared: bool = True
    most: int = MOST_GPUS

    def over(self, model: ModelFacts, gpus: int) -> Spread:
        """Return how a model lies on a container's GPUs, with what speaks against it."""
        copies = self.pipeline * self.data
        tensor = self.tensor or max(1, min(gpus, self.most) // copies)
        if tensor * copies > gpus:
            return Spread(self._split(model, tensor), f"needs {tensor * copies} GPUs")
        if self.experts is None:
            return self._by_itself(model, tensor)
        return self._judged(model, tensor, self.experts)

    def spreads(self, model: ModelFacts, most: int = MOST_GPUS) -> dict[int, Spread]:
        """Return every count of GPUs that a model takes whole, or would if the engine were told."""
        found = {count: self.over(model, count) for count in range(1, min(most, self.most) + 1)}
        return {
            count: one
            for count, one in found.items()
            if one.split.gpus == count and (one.cure or not one.problem)
        }

    def _by_itself(self, model: ModelFacts, tensor: int) -> Spread:
        parted = self._judged(model, tensor, whole=False)
        return self._judged(model, tensor, whole=True) if parted.cure else parted

    def _judged(self, model: ModelFacts, tensor: int, whole: int | bool) -> Spread:
        split = self._split(model, tensor)
        if tensor % self.attention_data:
            problem = f"{self.attention_data} copies of the attention do not divide {tensor} ranks"
            return Spread(split, problem)
        if model.layers and split.pipeline > model.layers:
            return Spread(split, f"{split.pipeline} groups of layers, and there are {model.layers}")
        if not model.divides(tensor, attention=split.tensor):
            return Spread(split, f"tensor parallelism over {tensor} does not divide the model")
        return _with_experts(model, split, whole)

    def _split(self, model: ModelFacts, tensor: int) -> Split:
        experts = tensor * self.data if self.experts_shared else tensor
        return Split(
            tensor=max(1, tensor // self.attention_data),
            expert=experts if model.experts else None,
            pipeline=self.pipeline,
            data=self.data * self.attention_data,
        )


def _with_experts(model: ModelFacts, split: Split, whole: int | bool) -> Spread:
    """Whether the routed experts divide: each over the ranks of a group, the groups having whole ones."""
    ranks = split.expert or 1
    groups = ranks if whole is True else int(whole) or 1
    if model.experts_divide(ranks, groups):
        return Spread(split)
    if ranks % groups or model.experts % groups:
        return Spread(split, f"{model.experts} experts do not divide over {groups} of {ranks} GPUs")
    problem = f"its experts divide over {ranks} GPUs only whole"
    return Spread(split, problem, "" if model.experts % ranks else "expert parallelism")
