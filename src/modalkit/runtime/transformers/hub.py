"""How modalkit asks transformers for a model: the arguments every loader shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import torch
from pydantic import JsonValue
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file

from ...errors import DeclarationError
from .options import EngineOptions

__all__ = [
    "ModelArguments",
    "Source",
    "device",
    "folder",
    "model_arguments",
    "read_json",
    "source",
    "vocabulary_size",
]


class Source(TypedDict):
    """Which files of a repository."""

    revision: str | None
    trust_remote_code: bool


class ModelArguments(Source, total=False):
    """Which files, and what they become in memory."""

    dtype: torch.dtype | str
    attn_implementation: str


def source(options: EngineOptions) -> Source:
    """The arguments for a configuration or a tokenizer."""
    return {"revision": options.revision, "trust_remote_code": options.trust_remote_code}


def model_arguments(options: EngineOptions) -> ModelArguments:
    """The arguments for a model."""
    dtype = options.dtype if options.dtype == "auto" else getattr(torch, options.dtype)
    arguments: ModelArguments = {
        "revision": options.revision,
        "trust_remote_code": options.trust_remote_code,
        "dtype": dtype,
    }
    if options.attn_implementation is not None:
        arguments["attn_implementation"] = options.attn_implementation
    return arguments


def device(options: EngineOptions) -> torch.device:
    """The device that was asked for, refused when it is not there."""
    if options.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        msg = f"--device {options.device!r} was asked for, but PyTorch sees no GPU here."
        raise DeclarationError(msg)
    return torch.device(options.device)


def folder(options: EngineOptions) -> Path:
    """Where the model's files are on this machine, as far as they are there yet."""
    path = cached_file(options.model, "config.json", revision=options.revision)
    assert path is not None  # noqa: S101 - it raises for a model without one
    return Path(path).parent


def read_json(options: EngineOptions, name: str) -> JsonValue:
    """A JSON file of the model; None when it has no such file."""
    path = cached_file(
        options.model,
        name,
        revision=options.revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return None
    content: JsonValue = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def vocabulary_size(model: PreTrainedModel) -> int:
    """How many token ids the model has a vector for."""
    return model.get_input_embeddings().get_parameter("weight").shape[0]
