"""What one layer keeps of the tokens it has seen, as figures: what the cache's arithmetic works on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .least import refuse_below

__all__ = ["CacheLayer", "Keeps"]


class Keeps(StrEnum):
    """What a layer keeps of the tokens it has seen."""

    ALL = "every token"
    WINDOW = "the last tokens"
    CHUNK = "the current chunk"
    COMPRESSED = "one entry for several tokens"
    ENCODER = "every token of the encoder"
    NOTHING = "no token"


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """One cache of one layer, before tensor parallelism; a layer may have several.

    Attributes:
        name: The layer's kind as the config names it.
        keeps: Of which tokens.
        elements: Numbers kept for a token, in the cache's type.
        extra_bytes: Bytes kept for a token in a type of their own (an indexer's scale).
        window: Tokens kept at most (``WINDOW``, ``CHUNK``), tokens per entry (``COMPRESSED``), or the
            encoder's tokens (``ENCODER``; 0 where its input has as many as the request).
        state_bytes: Kept once for a sequence, whatever its length.
        heads: Key-value heads that tensor parallelism can spread; 1 for a latent that every rank keeps.
        latent: Whether it keeps a compressed latent in place of keys and values (MLA).

    Raises:
        DeclarationError: A figure that cannot be.
    """

    name: str
    keeps: Keeps
    elements: int = 0
    extra_bytes: int = 0
    window: int = 0
    state_bytes: int = 0
    heads: int = 1
    latent: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        widened = {Keeps.WINDOW, Keeps.CHUNK, Keeps.COMPRESSED}
        least = {"elements": 0, "extra_bytes": 0, "state_bytes": 0, "heads": 1}
        least |= {"window": int(self.keeps in widened)}
        refuse_below(self, least, f" of a layer that keeps {self.keeps.value}")

    @property
    def label(self) -> str:
        """What a breakdown calls it."""
        what = "latent attention (MLA)" if self.latent else "full attention"
        said = {
            Keeps.WINDOW: f"sliding window of {self.window:,}",
            Keeps.CHUNK: f"chunks of {self.window:,}",
            Keeps.COMPRESSED: f"compressed 1 to {self.window}",
            Keeps.ENCODER: "cross-attention",
        }
        return said.get(self.keeps, what)

    @property
    def rule(self) -> str:
        """Where the formula of its keys and values is from."""
        if self.latent:
            return "kv_lora_rank + qk_rope_head_dim on every rank: DeepSeek-V2, section 2.1.2"
        return _RULES[self.keeps]


_RULES = {
    Keeps.ALL: "key-value heads x (key + value width)",
    Keeps.WINDOW: "at most window - 1 + the tokens being read + a block: vLLM's sliding-window manager",
    Keeps.CHUNK: "at most a chunk + the tokens being read: vLLM's chunked-local manager",
    Keeps.COMPRESSED: "an entry for several tokens: DeepSeek-V4's compressed attention",
    Keeps.ENCODER: "keys and values of the encoder's tokens",
    Keeps.NOTHING: "keeps no token",
}
