"""Names of modules: which a quantisation's patterns mean, which are never quantised, which are towers."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable

__all__ = ["Matcher", "alike", "canonical", "is_speech", "is_tower", "is_whole", "matcher", "runs"]

# Never quantised by any of the formats: lookups, routers, biases (an expert's is a matrix of them), towers.
_WHOLE = re.compile(
    r"embed|wte|wpe|lm_head|norm|router|(^|\.)gate\.|shared_expert_gate|conv|(^|\.)head\.|score\.|"
    r"classifier|bias$"
)
_TOWERS = re.compile(
    r"(^|\.)(vision|visual|audio|image|sound|mm|multi_modal|multimodal)\w*(\.|$)|projector|connector|"
    r"patch_merger|aligner"
)
_SPEECH = re.compile(r"(^|\.)(talker|token2wav|code2wav)\.")
_NUMBERED = re.compile(r"(?:layers|blocks|h)\.(\d+)(\*?)")


@functools.lru_cache(maxsize=256)
def alike(patterns: tuple[str, ...], layers: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Group layers of which patterns say the same."""
    said: dict[int, set[str]] = {layer: set() for layer in layers}
    for pattern in patterns:
        number = _NUMBERED.search(pattern)
        if number is None and re.search(r"\d", pattern):
            return tuple((layer,) for layer in layers)  # a number with another meaning
        if number is not None:
            rest = f"{pattern[: number.start()]}#{pattern[number.end() :]}"
            for layer in layers:
                begins = number[2] and str(layer).startswith(number[1])
                if begins or str(layer) == number[1]:
                    said[layer].add(rest)
    groups: dict[frozenset[str], list[int]] = {}
    for layer, templates in said.items():
        groups.setdefault(frozenset(templates), []).append(layer)
    return tuple(tuple(group) for group in groups.values())


@functools.lru_cache(maxsize=4096)
def is_whole(name: str) -> bool:
    """Whether a parameter is left in the checkpoint's type by every format."""
    return bool(_WHOLE.search(name)) or is_tower(name) or "A_log" in name


@functools.lru_cache(maxsize=4096)
def is_tower(name: str) -> bool:
    """Whether a parameter belongs to a vision or audio tower, or to what joins it to the text."""
    return _TOWERS.search(name) is not None


@functools.lru_cache(maxsize=4096)
def is_speech(name: str) -> bool:
    """Whether a parameter belongs to what speaks the answer (Qwen-Omni): no text token passes through it."""
    return _SPEECH.search(name) is not None


def canonical(name: str) -> str:
    """Drop what differs between a checkpoint's names and a class's: wrappers at the front, the end."""
    parts = [
        part
        for part in name.split(".")
        if part not in {"model", "language_model", "text_model", "transformer", "backbone"}
    ]
    if parts and parts[-1] in {"weight", "bias"}:
        parts.pop()
    return ".".join(parts)


class Matcher:
    """Tells whether a module's name is among patterns, as the quantisers read them."""

    def __init__(self, patterns: Iterable[str]) -> None:
        plain, expressions = set(), []
        for pattern in patterns:
            if pattern.startswith("re:"):
                expressions.append(pattern[3:].replace(r"^model\.", "").replace("model.", ""))
            elif "*" in pattern:
                glob = canonical(pattern.removesuffix("*").removesuffix(".")) + "*"
                expressions.append(fnmatch.translate(glob))
            else:
                plain.add(canonical(pattern))
        self._plain = plain
        self._found = (
            re.compile("|".join(f"(?:{one})" for one in expressions)) if expressions else None
        )

    def hits(self, name: str) -> bool:
        """Whether a canonical name is among them."""
        if self._plain and not self._plain.isdisjoint(runs(name)):
            return True
        if self._found is None:
            return False
        return (
            self._found.match(name) is not None or self._found.match(f"layers.{name}") is not None
        )


@functools.lru_cache(maxsize=16384)
def runs(name: str) -> tuple[str, ...]:
    """Return every run of whole dotted parts of a name: ``gate`` is one of ``mlp.gate``, not of ``gate_proj``."""
    parts = name.split(".")
    return tuple(
        ".".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)
    )


@functools.lru_cache(maxsize=64)
def matcher(patterns: tuple[str, ...]) -> Matcher:
    """Return what tells whether a name is among patterns."""
    return Matcher(patterns)
