"""What a parameter is for, by its name."""

from __future__ import annotations

import functools
import re

from .module_names import is_speech, is_tower
from .parts import Kind

__all__ = ["kind_of"]

_AUDIO = re.compile(r"audio|sound|speech")
_PROJECTOR = re.compile(r"projector|connector|patch_merger|aligner|multi_modal|multimodal")
_EMBEDDINGS = re.compile(r"embed|wte|wpe|(^|\.)shared\.weight|relative_attention_bias|position")
_HEAD = re.compile(
    r"lm_head|(^|\.)(head|score|classifier|output|final_logits_bias|embed_out)(\.|$)"
)
_NORM = re.compile(r"(?i:norm)\w*(\.\w+)?$|(^|\.)ln_?\w*\.\w+$")
_RECURRENT = re.compile(
    r"linear_attn|mamba|conv|A_log|ssm|(^|\.)(time_|rwkv|recurrent|mlstm|rg_lru|linear_[xy]\.)|"
    r"mixer\.(in_proj|out_proj|x_proj|dt_|D$)|dt_bias|lightning|short_conv"
)
_ATTENTION = re.compile(
    r"attn|attention|[._](q|k|v|o|qkv|kv|wkv|wo)_?(proj|a_proj|b_proj)?\.|indexer|compressor"
)
_MLP = re.compile(
    r"mlp|feed_?forward|ffn|ff\.|(^|\.)(fc|wi|wo|w|dense)_?\d|(up|down|gate|gate_up|input|output)_(proj|linear)|"
    r"dense_|intermediate|expert|(^|\.)output\.dense|DenseReluDense|lin\d"
)


@functools.lru_cache(maxsize=16_384)
def kind_of(name: str, *, inside: bool, expert: bool = False, router: bool = False) -> Kind:
    """Return what a parameter is for.

    Args:
        name: Its name, as in ``model.layers.{}.mlp.up_proj.weight``.
        inside: It belongs to a layer of the text model.
        expert: It belongs to a routed expert.
        router: It chooses experts.
    """
    if is_speech(name):
        return Kind.SPEECH
    if expert or router:  # of a tower, too
        return Kind.EXPERTS if expert else Kind.ROUTERS
    if is_tower(name):
        if _AUDIO.search(name):
            return Kind.AUDIO
        return Kind.PROJECTOR if _PROJECTOR.search(name) else Kind.VISION
    return _inside(name) if inside else _outside(name)


def _inside(name: str) -> Kind:
    for pattern, kind in (
        (_NORM, Kind.NORMS),
        (_RECURRENT, Kind.RECURRENT),
        (_ATTENTION, Kind.ATTENTION),
        (_MLP, Kind.MLP),
    ):
        if pattern.search(name):
            return kind
    return Kind.OTHER


def _outside(name: str) -> Kind:
    if "encoder" in name:
        return Kind.ENCODER
    for pattern, kind in (
        (_NORM, Kind.NORMS),
        (_EMBEDDINGS, Kind.EMBEDDINGS),
        (_HEAD, Kind.HEAD),
    ):
        if pattern.search(name):
            return kind
    return Kind.OTHER
