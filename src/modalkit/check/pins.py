"""Which requirements leave their version open, and which of those break an image built next month."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..declare.pins import is_pinned

__all__ = ["is_fragile", "open_name"]

# Packages whose releases break each other, so that an unpinned one breaks an image built next month.
_FRAGILE = frozenset(
    {"vllm", "sglang", "torch", "torchvision", "torchaudio", "transformers", "diffusers", "flash-attn", "xformers", "triton",
     "bitsandbytes", "tensorrt-llm", "tensorflow", "jax", "peft", "trl", "unsloth", "deepspeed", "llama-cpp-python", "auto-gptq",
     "autoawq", "sentence-transformers", "accelerate", "ctranslate2", "faster-whisper", "whisperx"}
)  # fmt: skip
# They build the image and are not of it; `pip install --upgrade pip` asks for the newest on purpose.
_INSTALLERS = frozenset({"pip", "setuptools", "wheel", "uv"})


def open_name(text: str) -> str | None:
    """Return the package of a requirement that leaves its version open; None for a pinned one.

    Examples:
        >>> open_name("Torch>=2"), open_name("torch==2.13.0")
        ('torch', None)
    """
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    name = canonicalize_name(requirement.name)
    return None if is_pinned(text) or name in _INSTALLERS else name


def is_fragile(name: str, text: str) -> bool:
    """Whether another release of a fragile package may come, not only a patch: ``~=4.44.0`` is one."""
    operators = {each.operator for each in Requirement(text).specifier}
    return name in _FRAGILE and not operators & {"~=", "==", "<", "<="}
