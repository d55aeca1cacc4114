"""What a model keeps of the tokens it has seen, layer by layer: keys and values, windows, states.

What a layer keeps is read off its own parameters (`attention`, `recurrent`); the config says only what
they cannot: the kind of the layer and the width of its window. A layer that neither module knows is
refused. Transformers' own caches of tiny models of every family are held against it in
``bench/sizing_cache.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..errors import SizingError
from .attention import Kept, kept_per_token
from .by_hand import BY_HAND
from .cache_layer import CacheLayer, Keeps
from .configs import Config, Settings
from .layouts import Parameter
from .recurrent import state_bytes

__all__ = ["cache_layers"]

Shapes = Mapping[str, tuple[int, ...]]

_ATTENTION = {
    "full_attention": Keeps.ALL,
    "attention": Keeps.ALL,
    "indexed_attention": Keeps.ALL,
    "sparse": Keeps.ALL,
    "global": Keeps.ALL,
    "minimax_m3_sparse": Keeps.ALL,
    "hybrid": Keeps.ALL,
    # All of the prompt and a window of the answer; as much as full attention where answers are short.
    "reference_sliding_attention": Keeps.ALL,
    "sliding_attention": Keeps.WINDOW,
    "hybrid_sliding": Keeps.WINDOW,
    "local": Keeps.WINDOW,
    "chunked_attention": Keeps.CHUNK,
    "compressed_sparse_attention": Keeps.COMPRESSED,
    "heavily_compressed_attention": Keeps.COMPRESSED,
}
_STATE = {"linear_attention", "conv", "mamba", "mamba2", "recurrent", "lightning_attention"}
_NONE = {"mlp", "moe", "identity", "dense"}
_COMPRESSION = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}


def cache_layers(
    config: Config, parameters: Iterable[Parameter], stack: str, prefix: str
) -> list[tuple[int, CacheLayer]]:
    """Return what every layer of the text model keeps, with the layer's number; some have several caches.

    Args:
        config: The model's config, defaults filled in.
        parameters: The model's parameters.
        stack: The text model's stack of layers, such as ``model.layers``.
        prefix: Where its settings are, such as ``text_config.``.

    Raises:
        SizingError: A kind of layer, or of attention, that this version does not know.
    """
    inside = f"{stack}.{{}}."
    own = [one for one in parameters if one.name.startswith(inside)]
    alike: dict[tuple[int, ...], list[int]] = {}  # which of them the same layers have
    for index, one in enumerate(own):
        alike.setdefault(one.layers, []).append(index)
    by_layer: dict[int, tuple[int, ...]] = {}
    for layers, indices in alike.items():
        for layer in layers:
            by_layer[layer] = (*by_layer.get(layer, ()), *indices)
    # LongCat-Flash has two attentions in each layer.
    attentions = max((one.copies for one in own if "attn.{}." in one.name), default=1)
    reader = _Reader(config, prefix)
    seen: dict[tuple[object, ...], list[CacheLayer]] = {}
    found: list[tuple[int, CacheLayer]] = []
    for number, has in sorted(by_layer.items()):
        key = (reader.listed(number), *has)
        if key not in seen:
            shapes = {own[one].name.removeprefix(inside): own[one].shape for one in sorted(has)}
            seen[key] = reader.caches(reader.kind(number, shapes), shapes)
        found += [(number, one) for one in seen[key] * attentions]
    return found


class _Reader:
    """Reads layers of one config.

    Args:
        prefix: Where the text model's settings are.
    """

    def __init__(self, config: Config, prefix: str) -> None:
        self._config = config
        self._settings = Settings(config.fields, prefix)
        self._model_type = config.model_type
        listed = (self._settings.get(name) for name in ("layer_types", "layers_block_type"))
        self._kinds = next((kinds for kinds in listed if isinstance(kinds, Sequence)), ())

    def kind(self, number: int, shapes: Shapes) -> str:
        """Return a layer's kind, as the config lists it or as its window implies."""
        if listed := self.listed(number):
            return self._without_window(listed)
        if any("mamba" in name or "mixer.conv1d" in name for name in shapes):
            has_attention = kept_per_token(shapes, self._settings) is not None
            return "hybrid" if has_attention else "mamba"
        return "sliding_attention" if self._slides() else "full_attention"

    def listed(self, number: int) -> str:
        """Return a layer's kind as the config lists it; nothing where it does not."""
        return str(self._kinds[number]) if number < len(self._kinds) else ""

    def caches(self, kind: str, shapes: Shapes) -> list[CacheLayer]:
        """Return what a layer of a kind with these parameters keeps."""
        if kind in _NONE:
            return [CacheLayer(kind, Keeps.NOTHING)]
        state = state_bytes(kind, shapes, self._settings)
        if kind in _STATE:
            if state is None:
                raise SizingError(self._unknown(kind, "recurrent state", shapes))
            return [CacheLayer(kind, Keeps.NOTHING, state_bytes=state)]
        if kind not in _ATTENTION:
            raise SizingError(self._unknown(kind, "cache", shapes))
        kept, cross = kept_per_token(shapes, self._settings), self._cross(shapes)
        if kept is None and not cross and (not state or self._kinds):
            raise SizingError(self._unknown(kind, "attention", shapes))
        own = self._own(kind, kept, state or 0) if kept or state else []
        return [*own, *cross]

    def _own(self, kind: str, kept: Kept | None, state: int) -> list[CacheLayer]:
        """The layer's own keys and values, and its state."""
        if kept is None or not kept.elements:
            return [CacheLayer(kind, Keeps.NOTHING, state_bytes=state)]
        window = self._window(kind)
        keeps = _ATTENTION[kind]
        if keeps is Keeps.WINDOW and not window:
            keeps = Keeps.ALL  # a sliding layer without a window
        whole = CacheLayer(
            kind, keeps, kept.elements, kept.index_bytes, window, state, kept.heads, kept.latent
        )
        if keeps is not Keeps.COMPRESSED:
            return [whole]
        # DeepSeek-V4 keeps the last tokens as they are beside the compressed ones.
        recent = self._settings.number("sliding_window")
        last = [CacheLayer(kind, Keeps.WINDOW, kept.elements, 0, recent, 0, kept.heads)]
        return [whole, *last] if recent else [whole]

    def _cross(self, shapes: Shapes) -> list[CacheLayer]:
        """The keys and values of the encoder's tokens, which are worked out once."""
        kept = kept_per_token(shapes, self._settings, cross=True)
        if kept is None or not kept.elements:
            return []
        tokens = self._encoder_tokens()
        return [
            CacheLayer("cross_attention", Keeps.ENCODER, kept.elements, 0, tokens, 0, kept.heads)
        ]

    def _encoder_tokens(self) -> int:
        """Tokens of an encoder whose input has one size: tiles of an image, Whisper's 30 seconds."""
        fields = self._config.fields
        for vision in (Settings(fields, "vision_config."), Settings(fields, "encoder.")):
            if size := vision.number("image_size"):
                patches = (size // (vision.number("patch_size") or 14)) ** 2 + 1
                return patches * (vision.number("max_num_tiles") or 1)
        whole = Settings(fields, "")
        return whole.number("max_source_positions") if self._model_type == "whisper" else 0

    def _without_window(self, kind: str) -> str:
        """A sliding layer without a window keeps everything."""
        if kind == "sliding_attention" and not self._settings.number("sliding_window"):
            return "full_attention"
        return kind

    def _slides(self) -> bool:
        if self._settings.get("use_sliding_window") is False:
            return False
        return bool(self._settings.number("sliding_window"))

    def _window(self, kind: str) -> int:
        keeps = _ATTENTION[kind]
        if keeps is Keeps.CHUNK:
            return (
                self._settings.number("attention_chunk_size") or 8192
            )  # Llama4TextConfig's default
        if keeps is Keeps.COMPRESSED:
            return _COMPRESSION[kind]
        return self._settings.number("sliding_window") if keeps is Keeps.WINDOW else 0

    def _unknown(self, kind: str, what: str, shapes: Shapes) -> str:
        named = ", ".join(sorted(shapes)[:6]) or "no parameters"
        return (
            f"The {what} of a {kind!r} layer of {self._model_type!r} ({named}) is not one this version "
            f"knows. {BY_HAND}"
        )
