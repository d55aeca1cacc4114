"""Which files of a model an engine reads: one set of weights, the tokenizer, the configuration.

A repository often holds the same weights several times (``original/``, ``consolidated.safetensors``,
``pytorch_model.bin``, ONNX) and pictures. The index decides: what its ``weight_map`` names is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from ..errors import HubError
from ..lock.weight_files import WEIGHT_FILES
from .files import SourceFile

__all__ = ["needed_files"]

# A model's weights, then those of its parts: `diffusion_pytorch_model` is what diffusers calls a
# component's, `adapter_model` what PEFT calls an adapter's.
_PARTS = ("diffusion_pytorch_model", "adapter_model")
_NAMED = tuple(
    name
    for suffix in (".safetensors", ".bin")
    for name in (*WEIGHT_FILES, *(f"{part}{suffix}" for part in _PARTS))
    if name.endswith(suffix)
)
_WEIGHTS = re.compile(
    r"\.(safetensors|bin|pt|pth|ckpt|h5|msgpack|gguf|ggml|onnx|onnx_data|ot|tflite|npz|pickle|pkl|nemo)$"
)
# What is read besides weights: configuration, tokenizers, chat templates, code that comes with a model.
_READ = re.compile(
    r"\.(json|jinja|txt|model|tiktoken|py|ya?ml|bpe|vocab|spm)$|^(vocab|merges)$"
    r"|\.model\.v\d+(m\d+)?$"  # Mistral's, which vLLM looks for beside consolidated weights
)
_OTHER_FORMATS = frozenset(
    {"original", "onnx", "openvino", "metal", "coreml", "gguf", "tf", "flax", "runs", "logs"}
)

Reading = Callable[[str], object]
"""Gives the parsed JSON of a file by its name."""


def needed_files(
    files: Iterable[SourceFile],
    read: Reading,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> tuple[SourceFile, ...]:
    """Choose the files to fetch, sorted by name.

    Args:
        files: What the source has.
        read: Reads an index or a list of components, which are small JSON files.
        include: Patterns of files to fetch besides, such as ``"*Q4_K_M.gguf"``.
        exclude: Patterns of files to leave out all the same.

    Raises:
        HubError: The index names a file that is not there, or nothing looks like weights.
    """
    by_name = {file.name: file for file in files}
    folders = ("", *_components(by_name, read))
    chosen = {name for folder in folders for name in _weights(folder, by_name, read)}
    extra = {name for name in by_name if _matches(name, include)}
    if not any(_WEIGHTS.search(name) for name in chosen | extra):
        raise HubError(_no_weights(by_name))
    chosen |= extra | {name for name in by_name if _is_read(name, folders)}
    return tuple(by_name[name] for name in sorted(chosen) if not _matches(name, exclude))


def _weights(folder: str, names: Mapping[str, SourceFile], read: Reading) -> Iterator[str]:
    """The weights of one folder, in the first format that is there, with the index that names them."""
    here = f"{folder}/" if folder else ""
    for single in _NAMED:
        index = f"{here}{single}.index.json"
        if index in names:
            yield index
            yield from _mapped(index, here, names, read)
            return
        if f"{here}{single}" in names:
            yield f"{here}{single}"
            return
    for suffix in (".safetensors", ".bin", ".pt", ".pth"):
        found = [name for name in names if name.endswith(suffix) and _folder(name) == folder]
        if found:
            yield from found
            return


def _mapped(index: str, here: str, names: Mapping[str, SourceFile], read: Reading) -> Iterator[str]:
    content = read(index)
    mapped = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(mapped, Mapping):
        msg = f"{index} has no weight_map, so which weights belong to the model is not known."
        raise HubError(msg)
    for name in sorted({f"{here}{one}" for one in mapped.values()}):
        if name not in names:
            msg = f"{index} names {name!r}, which is not there. The upload is not complete: choose another revision."
            raise HubError(msg)
        yield name


def _components(names: Mapping[str, SourceFile], read: Reading) -> Iterator[str]:
    """The folders that hold further weights: sentence-transformers' modules, diffusers' components."""
    if "modules.json" in names:
        modules = read("modules.json")
        for module in modules if isinstance(modules, list) else ():
            path = module.get("path") if isinstance(module, Mapping) else None
            if isinstance(path, str) and path:
                yield path.strip("/")
    if "model_index.json" in names:
        parts = read("model_index.json")
        folders = {_folder(name) for name in names}
        yield from (
            (str(name) for name in parts if name in folders) if isinstance(parts, Mapping) else ()
        )


def _is_read(name: str, folders: Sequence[str]) -> bool:
    path = PurePosixPath(name)
    if _WEIGHTS.search(name) or name.endswith(".index.json") or not _READ.search(path.name):
        return False
    if _OTHER_FORMATS & set(path.parts[:-1]) or any(part.startswith(".") for part in path.parts):
        return False
    known = _folder(name) in folders or "chat_template" in str(path.parent)
    return known or path.suffix == ".py"  # code may lie in packages of its own


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _no_weights(names: Mapping[str, SourceFile]) -> str:
    found = sorted(name for name in names if _WEIGHTS.search(name))
    if not found:
        return "It holds no weights that are known. Check the id, or name the files: WeightCache(..., include=['*.gguf'])."
    shown = ", ".join(map(repr, found[:4])) + (" ..." if len(found) > 4 else "")  # noqa: PLR2004 - enough to see what there is
    return (
        f"It holds weights only in formats that no one loads by default: {shown}. Name those to fetch: "
        f"WeightCache(..., include=[{found[0]!r}])."
    )
