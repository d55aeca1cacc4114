"""What speculative decoding adds to a GPU: the weights that guess ahead, and the cache they keep."""

from __future__ import annotations

from dataclasses import dataclass

from .cache_layer import CacheLayer, Keeps
from .facts import ModelFacts

__all__ = ["Draft", "draft_of", "gain_of"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What guesses ahead.

    Attributes:
        weight_bytes: Its weights, before any split.
        layers: What its cache keeps.
        unknown: What of it nobody knows, in a sentence.
    """

    weight_bytes: int = 0
    layers: tuple[CacheLayer, ...] = ()
    unknown: str = ""


def draft_of(
    model: ModelFacts,
    method: str,
    name: str | None,
    *,
    facts: ModelFacts | None = None,
    stored: int = 0,
    command: str = "modalkit lock FILE",
) -> Draft:
    """Return what guesses ahead for a model.

    A head that was trained for the model (``"eagle"``, ``"eagle3"``) and the model's own next-token layers
    (``"mtp"``) keep as much for a token as one of its layers.

    Args:
        model: The model whose tokens are guessed.
        method: How, as `Speculative` names it.
        name: What guesses; None for the model itself, or nothing.
        facts: What is known of that.
        stored: Bytes of its files; 0 if nobody knows.
        command: What locks it, for what is said of it.
    """
    if method == "ngram":
        return Draft()
    if name is None:
        return Draft(model.extra_stored_bytes, _one_layer(model))
    weights = stored or (facts.loaded_bytes if facts else 0)
    if not weights:
        lies = "it is there only in the container"
        why = lies if name.startswith("/") else f"nothing is known of it; run: {command}"
        return Draft(unknown=f"{name} is not counted: {why}")
    if facts is not None:
        return Draft(weights, facts.cache)
    if method == "draft_model":
        unknown = f"the cache of {name} is not counted: its lock has nothing of its config; run: {command}"
        return Draft(weights, unknown=unknown)
    return Draft(weights, _one_layer(model))


def gain_of(guesses: int) -> str:
    """Say what guessing ahead could do to the speed, which no estimate here takes in.

    A step gives ``(1 - a ** (g + 1)) / (1 - a)`` tokens where ``g`` are guessed and a share ``a`` of them
    is taken (Leviathan et al., 2023, equation 1): one where none is, ``g + 1`` where all are.

    Args:
        guesses: Tokens guessed at a step.
    """
    return (
        f"speeds leave out what guessing {guesses} tokens ahead gains: a step gives 1 to {guesses + 1} tokens by how "
        "many guesses are taken (Leviathan et al., 2023), less the time to guess; unchecked, bench it"
    )


def _one_layer(model: ModelFacts) -> tuple[CacheLayer, ...]:
    """A layer like the model's own that keeps every token."""
    whole = [layer for layer in model.cache if layer.keeps is Keeps.ALL]
    return (max(whole, key=lambda layer: layer.elements),) if whole else ()
