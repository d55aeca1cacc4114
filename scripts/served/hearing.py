"""Models that hear, around a text model that they hold."""

from __future__ import annotations

from collections.abc import Iterator

from .rows import linear, norm, when
from .seeing import HEAD, HIDDEN
from .served import Served
from .towers import SIGLIP_400M, resampler, whisper_encoder

__all__ = ["hearing"]

WHISPER_MEDIUM = {
    "audio_config.d_model": 1024,
    "audio_config.encoder_ffn_dim": 4096,
    "audio_config.encoder_layers": 24,
    "audio_config.max_source_positions": 1500,
    "audio_config.num_mel_bins": 80,
}


def hearing() -> Iterator[Served]:
    """Yield the architectures."""
    yield _ultravox()
    yield _minicpm()


def _ultravox() -> Served:
    stacked = "(audio_config.d_model * stack_factor)"
    rows = [
        *whisper_encoder("audio_tower", "audio_config."),
        *norm("multi_modal_projector.ln_pre", stacked),
        *linear("multi_modal_projector.linear_1", "hidden_size", stacked, bias=False),
        *linear("multi_modal_projector.linear_2", HIDDEN, "hidden_size // 2", bias=False),
        *when("projector_ln_mid", norm("multi_modal_projector.ln_mid", "hidden_size // 2")),
        *when("projector_ln_mid", norm("multi_modal_projector.ln_post", HIDDEN), holds=False),
        *HEAD,
    ]
    large = {
        "audio_config.d_model": 1280,
        "audio_config.encoder_ffn_dim": 5120,
        "audio_config.encoder_layers": 32,
        "audio_config.max_source_positions": 1500,
        "audio_config.num_mel_bins": 128,
    }
    settings = {**large, "hidden_size": 4096, "projector_ln_mid": False, "stack_factor": 8}
    pinned = {"num_projector_layers": 0}
    source = "vLLM 0.33 Ultravox"
    return Served("ultravox", source, rows, settings, text="llama", pinned=pinned)


def _minicpm() -> Served:
    """MiniCPM-o as it answers in text: engines leave its voice in the files."""
    rows = [
        *resampler("resampler", "query_num", HIDDEN, "vision_config.hidden_size"),
        *whisper_encoder("audio_tower", "audio_config."),
        *linear("audio_projection_layer.linear1", HIDDEN, "audio_config.d_model"),
        *linear("audio_projection_layer.linear2", HIDDEN, HIDDEN),
        *HEAD,
    ]
    return Served(
        "minicpmo",
        "vLLM 0.33 MiniCPMO2_6",
        rows,
        {**SIGLIP_400M, **WHISPER_MEDIUM, "query_num": 64},
        text="qwen2",
        towers={"vision_config": "siglip_vision_model"},
    )
