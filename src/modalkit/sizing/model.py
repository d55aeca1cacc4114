"""A model's size, from its ``config.json`` alone: parameters, bytes, what its cache keeps.

Everything else in this package works on the `ModelFacts` made here; a model whose architecture is not
known can be stated by hand with the same class.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from .._values import Value
from ..errors import SizingError
from .cache import CacheLayer, Keeps, cache_layers
from .composed import as_known, layout_of
from .configs import Config, Settings
from .expressions import evaluate
from .formats import bytes_of, dtype_of, quantization_of
from .layouts import parameters, text_stack
from .stored import stored_bytes
from .tally import Tally

__all__ = ["ModelFacts", "model_facts", "read_model"]

GIB = 1024**3


class ModelFacts(Value):
    """What sizing knows of a model. Bytes are for the whole model, before any split.

    Attributes:
        name: What to call it.
        model_type: The config's ``model_type``; empty if stated by hand.
        dtype: The checkpoint's type, such as ``"bfloat16"``.
        quantization: The name of its quantised weights' format, or None.
        total_parameters: Every parameter once, tied ones once.
        active_parameters: Those a text token passes through: towers left out, experts by their share.
        weight_bytes: As stored, multi-token-prediction layers aside.
        loaded_bytes: As an engine keeps them: float32 checkpoints are loaded as 16 bit.
        extra_stored_bytes: Multi-token-prediction layers in the checkpoint's files.
        stored_bytes: What the files hold, by their headers, an index or the hub; 0 if nobody knows.
        lora_width: Rows and columns of the text layers' linear maps, routed experts aside.
        expert_bytes: The routed experts' part of ``loaded_bytes``.
        replicated_bytes: The part that every tensor-parallel rank keeps whole.
        key_value_bytes: The part of key and value projections, which ranks above the head count share.
        embedding_bytes: Lookup tables and the output head, part of ``loaded_bytes``.
        cache: What each layer's KV cache keeps; empty for an encoder.
        attention_heads: Query heads; tensor parallelism must divide them.
        kv_heads: Key-value heads; 1 where every rank keeps the same latent.
        block_sizes: Widths that fp8 blocks of 128 must divide after a split.
        expert_block_sizes: The same of routed experts; spreading whole experts avoids it.
        max_context: Tokens the model was made for; 0 if it does not say.
        hidden_size: Width of the residual stream.
        vocab_size: Entries of the vocabulary.
        layers: Layers of the text model.
        experts: Routed experts per layer; 0 for a dense model.

    Raises:
        DeclarationError: A value that cannot be.
    """

    name: str
    model_type: str = ""
    dtype: str = "bfloat16"
    quantization: str | None = None
    total_parameters: int
    active_parameters: int
    weight_bytes: int
    loaded_bytes: int
    extra_stored_bytes: int = 0
    stored_bytes: int = 0
    lora_width: int = 0
    expert_bytes: int = 0
    replicated_bytes: int = 0
    key_value_bytes: int = 0
    embedding_bytes: int = 0
    cache: tuple[CacheLayer, ...] = ()
    attention_heads: int = 1
    kv_heads: int = 1
    block_sizes: tuple[int, ...] = ()
    expert_block_sizes: tuple[int, ...] = ()
    max_context: int = 0
    hidden_size: int = 0
    vocab_size: int = 0
    layers: int = 0
    experts: int = 0

    def kv_bytes_per_token(self, cache_bytes: float = 2.0) -> int:
        """Return the bytes one more token takes over all layers, before any split.

        Sliding layers count: below their window each token takes as much.

        Args:
            cache_bytes: Bytes of a number in the cache: 2 for 16 bit, 1 for fp8.
        """
        return round(sum(n * _per_token(layer, cache_bytes) for layer, n in self.cache_groups))

    def cross_bytes_per_token(self, cache_bytes: float = 2.0) -> int:
        """Return the bytes that cross-attention keeps for each token of an encoder; 0 without one."""
        crossing = (layer for layer in self.cache if layer.keeps is Keeps.ENCODER)
        return round(sum(layer.elements * cache_bytes for layer in crossing))

    @cached_property
    def cache_groups(self) -> tuple[tuple[CacheLayer, int], ...]:
        """The different layers of ``cache``, each with how many there are."""
        return tuple(Counter(self.cache).items())

    @cached_property
    def state_bytes_per_sequence(self) -> int:
        """Bytes a sequence takes whatever its length: recurrent and convolution states."""
        return sum(n * layer.state_bytes for layer, n in self.cache_groups)

    def valid_tensor_parallel(self, most: int = 8, *, whole_experts: bool = False) -> list[int]:
        """Return the tensor-parallel sizes that divide the model.

        The attention heads must divide; key-value heads must divide or be repeated a whole number of
        times; fp8 blocks of 128 must stay whole.

        Args:
            most: The largest size to try.
            whole_experts: Experts are spread whole over the ranks (expert parallelism), not split.
        """
        return [size for size in range(1, most + 1) if self._divides(size, whole_experts)]

    def _divides(self, size: int, whole_experts: bool) -> bool:
        heads = self.attention_heads % size == 0
        repeated = self.kv_heads % size == 0 or size % self.kv_heads == 0
        widths = self.block_sizes if whole_experts else self.block_sizes + self.expert_block_sizes
        if whole_experts and self.experts % size:
            return False
        blocks = all(width % (128 * size) == 0 or width < 128 for width in widths)  # noqa: PLR2004 - fp8 blocks
        return heads and repeated and (blocks or size == 1)


def _per_token(layer: CacheLayer, cache_bytes: float) -> float:
    if layer.keeps in {Keeps.NOTHING, Keeps.ENCODER}:
        return 0.0
    size = layer.elements * cache_bytes + layer.extra_bytes
    return size / layer.window if layer.keeps is Keeps.COMPRESSED else size


def read_model(folder: str | Path) -> ModelFacts:
    """Size the model in a folder; a ``config.json`` is enough.

    Args:
        folder: A folder, or the path of a config file.

    Raises:
        SizingError: No config there, an architecture this version does not know.
    """
    path = Path(folder)
    config = path / "config.json" if path.is_dir() else path
    if not config.is_file():
        msg = (
            f"There is no config.json in {str(folder)!r}; name a model's folder or its config file."
        )
        raise SizingError(msg)
    described = (
        path.with_name("hf_quant_config.json") if path.is_file() else path / "hf_quant_config.json"
    )
    return model_facts(
        _parsed(config),
        name=path.name or str(path),
        described=_parsed(described) if described.is_file() else None,
        stored=stored_bytes(path) if path.is_dir() else 0,
    )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{str(path)!r} must be a JSON file: {error}."
        raise SizingError(msg) from error
    if not isinstance(loaded, dict):
        msg = f"{str(path)!r} must hold a JSON object, got {type(loaded).__name__}."
        raise SizingError(msg)
    return loaded


def model_facts(
    raw: Mapping[str, object],
    *,
    name: str = "the model",
    described: Mapping[str, object] | None = None,
    stored: int = 0,
) -> ModelFacts:
    """Size a model from its parsed ``config.json``.

    Args:
        raw: The config, as parsed.
        name: What to call it in messages.
        described: A parsed ``hf_quant_config.json``, if the repository has one.
        stored: Bytes of the weight files, where they are known. What they hold beyond what the config
            says is counted as loaded too.

    Raises:
        SizingError: An architecture, layer kind or quantisation this version does not know.
    """
    parsed = as_known(dict(raw))
    layout = layout_of(parsed)
    config = Config.read(parsed, layout)
    found = list(parameters(layout, config.fields))
    stack = text_stack(layout)
    settings = Settings(config.fields, stack.prefix if stack else "")
    quantization = quantization_of(parsed, dict(described) if described else None)
    tally = Tally(settings, quantization, bytes_of(dtype_of(parsed)))
    for one in found:
        tally.add(one)
    cache = cache_layers(config, found, stack.path, stack.prefix) if stack else []
    caching = [layer for layer in cache if layer.keeps is not Keeps.NOTHING]
    number = settings.number
    return ModelFacts(
        name=name,
        model_type=config.model_type,
        dtype=dtype_of(parsed),
        quantization=quantization.format.name if quantization else None,
        total_parameters=tally.total,
        active_parameters=round(tally.active),
        weight_bytes=round(tally.stored),
        loaded_bytes=round(tally.loaded) + _unexplained(tally, stored),
        extra_stored_bytes=tally.prediction_bytes(),
        stored_bytes=stored,
        lora_width=tally.lora_width,
        expert_bytes=round(tally.experts),
        replicated_bytes=round(tally.replicated),
        key_value_bytes=round(tally.key_value),
        embedding_bytes=round(tally.embeddings),
        cache=tuple(cache),
        attention_heads=_heads(settings),
        kv_heads=min((layer.heads for layer in caching), default=1),
        block_sizes=tuple(sorted(tally.widths)),
        expert_block_sizes=tuple(sorted(tally.expert_widths)),
        max_context=number("max_position_embeddings"),
        hidden_size=number("hidden_size"),
        vocab_size=number("vocab_size"),
        layers=evaluate(stack.count, config.fields) if stack else number("num_hidden_layers"),
        experts=tally.expert_count,
    )


def _heads(settings: Settings) -> int:
    """Return the attention heads; where layers differ, the most that divides all of them."""
    listed = settings.get("num_attention_heads")
    if isinstance(listed, list):
        return math.gcd(*listed)
    return settings.number("num_attention_heads") or 1


def _unexplained(tally: Tally, stored: int) -> int:
    """Bytes that the files hold beyond what the config says, as an engine keeps them; 0 below 0.5 %."""
    surplus = stored - tally.stored - tally.prediction_bytes()
    return round(surplus * tally.loaded / tally.stored) if surplus > 0.005 * tally.stored else 0
