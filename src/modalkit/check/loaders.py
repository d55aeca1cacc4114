"""Calls that read a model into memory or fetch its files, whatever the model is called.

`models` knows what is loaded where a name is a hub id; this knows that something is, which is enough to say
that it should not happen for each request.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from .declared import ModalFile
from .nodes import Function

__all__ = ["SlowCall", "slow_calls"]

# By the end of the full name. A tokenizer, a config or a scheduler is read in no time.
_LOADERS = (
    "from_pretrained", "from_single_file", "vllm.LLM", "sglang.Engine", "transformers.pipeline",
    "transformers.pipelines.pipeline", "SentenceTransformer", "CrossEncoder", "whisper.load_model",
    "whisperx.load_model", "WhisperModel", "torch.load", "torch.jit.load", "torch.hub.load", "llama_cpp.Llama",
    "ultralytics.YOLO", "spacy.load", "easyocr.Reader", "onnxruntime.InferenceSession",
    "keras.models.load_model", "open_clip.create_model_and_transforms", "TTS.api.TTS",
)  # fmt: skip
_DOWNLOADERS = ("huggingface_hub.snapshot_download", "huggingface_hub.hf_hub_download")
_QUICK = (
    "Tokenizer", "Config", "Processor", "FeatureExtractor", "Scheduler", "peft.", "Peft", "TextStreamer",
    "modal.", "modalkit.",
)  # fmt: skip
_NAMES = ("model", "model_path", "pretrained_model_name_or_path", "repo_id", "model_name_or_path")
_MOST_NAMES = 30  # of one call's arguments


@dataclass(frozen=True, slots=True)
class SlowCall:
    """A call that takes seconds and gives the same each time.

    Attributes:
        call: The call.
        what: What it reads, as a message names it.
        downloads: Whether it fetches files rather than reads them into memory.
    """

    call: ast.Call
    what: str
    downloads: bool


def slow_calls(file: ModalFile, body: Function) -> Iterator[SlowCall]:
    """Yield the loads and downloads of a function itself whose model does not depend on its arguments."""
    for name, call in file.calls_in(body):
        downloads = name in _DOWNLOADERS
        if not downloads and not _is_loader(name):
            continue
        named = _naming(call)
        if file.nodes.function(call) is body and named and _is_fixed(file, body, named):
            text = next((text for one in named if (text := file.names.text(one))), None)
            yield SlowCall(call, text or name.removesuffix("()"), downloads)


def _is_loader(name: str) -> bool:
    known = any(name == end or name.endswith(f".{end}") for end in _LOADERS)
    return known and not any(word in name for word in _QUICK)


def _naming(call: ast.Call) -> list[ast.expr]:
    """The arguments that say which model: the first ones, and keywords of the usual names."""
    keywords = [one.value for one in call.keywords if one.arg in _NAMES]
    return [*call.args[:2], *keywords]


def _is_fixed(file: ModalFile, body: Function, values: list[ast.expr]) -> bool:
    """Whether values are the same at every call: they name nothing that the function is given or works out."""
    names = (one for value in values for one in ast.walk(value) if isinstance(one, ast.Name))
    return all(_is_constant(file, body, one) for one in islice(names, _MOST_NAMES))


def _is_constant(file: ModalFile, body: Function, name: ast.Name) -> bool:
    if name.id in {"self", "cls"}:
        return True  # what an instance has does not change from call to call
    scope, bindings = file.names.bindings(name)
    if scope is not body:
        return True
    known = [one.value for one in bindings]
    return bool(known) and all(
        isinstance(value, ast.Constant) or file.names.text(value) is not None for value in known
    )
