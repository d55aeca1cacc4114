"""An encoder and a decoder of any kind, put together by transformers itself."""

from __future__ import annotations

from collections.abc import Iterator

from .rows import linear, when
from .served import Served

__all__ = ["pairs"]


def pairs() -> Iterator[Served]:
    """Yield the architectures; a map lies between the two where their widths differ and nothing else joins them."""
    between = when(
        "has_projection", linear("enc_to_dec_proj", "decoder.hidden_size", "encoder.hidden_size")
    )
    source = "transformers 5.23.0 VisionEncoderDecoderLMHeadModel"
    towers = {"encoder": "vit", "decoder": "trocr"}
    yield Served("vision-encoder-decoder", source, between, towers=towers)
