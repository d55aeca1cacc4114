"""How long a context a model was made for, and whether more is asked of it.

What a config says is read as vLLM and SGLang do (vLLM's ``_get_and_verify_max_len``): the positions it
names, stretched by its rope scaling where that does not count already.
"""

from __future__ import annotations

from collections.abc import Mapping

from .configs import Settings

__all__ = ["beyond_own", "names_context", "own_context", "stretched"]

# By what a config calls its positions; Command R's ``model_max_length`` comes before the rest.
_POSITIONS = (
    "model_max_length",
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "max_seq_length",
    "seq_length",
    "max_target_positions",
)
# Scalings whose config names the stretched positions already.
_COUNTED = {"llama3", "longrope", "su", "mrope", "default"}
# Families that do so whatever the scaling is called.
_COUNTED_FAMILIES = ("gemma3",)


def own_context(settings: Settings, model_type: str = "") -> int:
    """Return the tokens that a model was made for, rope scaling counted; 0 if its config does not say.

    Args:
        settings: The text model's.
        model_type: The config's.
    """
    positions = settings.number(*_POSITIONS)
    if not positions or model_type.startswith(_COUNTED_FAMILIES):
        return positions
    scalings = (settings.get(name) for name in ("rope_scaling", "rope_parameters"))
    return max(stretched(positions, one) for one in (None, *scalings))


def names_context(raw: Mapping[str, object], prefix: str = "") -> bool:
    """Return whether a config itself names the positions of its text model.

    Args:
        raw: The config, as parsed.
        prefix: Where its text model's settings are, such as ``text_config.``.
    """
    nested: object = raw
    for name in prefix.split(".")[:-1]:
        nested = nested.get(name) if isinstance(nested, Mapping) else None
    places = [one for one in (raw, nested) if isinstance(one, Mapping)]
    return any(isinstance(place.get(name), int) for place in places for name in _POSITIONS)


def stretched(positions: int, scaling: object) -> int:
    """Return positions as a rope scaling stretches them; one for each kind of layer counts by its longest."""
    if not isinstance(scaling, Mapping):
        return positions
    if nested := [one for one in scaling.values() if isinstance(one, Mapping)]:
        return max(stretched(positions, one) for one in nested)
    kind = scaling.get("rope_type", scaling.get("type"))
    factor = scaling.get("factor")
    if kind in _COUNTED or kind is None or not isinstance(factor, int | float):
        return positions
    if kind == "yarn":
        original = scaling.get("original_max_position_embeddings")
        return round((original if isinstance(original, int) else positions) * factor)
    return round(positions * factor)


def beyond_own(context: int, own: int) -> str:
    """Say that a context is longer than the model's own; empty where it is not, or nobody knows.

    Args:
        context: Tokens asked for.
        own: Tokens the model was made for; 0 where it does not say.
    """
    if not own or context <= own:
        return ""
    return f"{context:,} tokens are more than the {own:,} that the model was made for"
