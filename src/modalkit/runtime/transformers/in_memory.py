"""Loading a model from weights that are read into memory at the disk's own speed.

Several pieces at once, past the page cache (O_DIRECT), into huge pages: nothing is copied twice, and no
page is faulted in one by one as when files are mapped. Measured beside other ways in
bench/results/loading.md. What transformers does beside reading tensors stays its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from .reading import available_bytes

if TYPE_CHECKING:
    from .hub import ModelArguments

__all__ = ["load_from_memory", "read_tensors"]

_THREADS = 4
_PIECE = 8 << 20
_BLOCK = 4096  # O_DIRECT wants whole blocks at their places; no disk has larger ones
_SHARE = 0.7  # of the memory there is; while it is read, nothing of it can be given back
_LOOKS = 64
_APART = 1 << 20  # a look makes the system read on behind it
_LENGTH = 8  # bytes before a file's header, which tell the header's

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load_from_memory(
    folder: Path, files: Sequence[Path], arguments: ModelArguments
) -> PreTrainedModel | None:
    """Load a causal language model, if this way is faster for it.

    Args:
        folder: The model's files.
        files: Its weights, safetensors files.
        arguments: As for ``from_pretrained``.

    Returns:
        None where the files are in the page cache, larger than the memory at hand, or on a file system
        that does not read past the page cache; for quantised models, and those with code of their own.
    """
    if arguments["trust_remote_code"] or not _fits(files) or _is_cached(files):
        return None
    config = AutoConfig.from_pretrained(folder)
    if getattr(config, "quantization_config", None) is not None or config.sub_configs:
        return None
    try:
        tensors = read_tensors(files)
    except (OSError, KeyError):  # refused, or failing, which mapping will tell; a type of its own
        return None
    with torch.device("meta"):
        kind = type(AutoModelForCausalLM.from_config(config))  # type: ignore[no-untyped-call]  # transformers' own
    model: PreTrainedModel = kind.from_pretrained(
        None, config=config, state_dict=tensors, **_without_source(arguments)
    )
    with suppress(OSError):  # few models have none
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model


def read_tensors(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Read safetensors files past the page cache.

    Raises:
        OSError: The file system refuses that, or fails.
        KeyError: A tensor has a type that is not known here.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="read") as pool:
        return {
            name: tensor
            for file in files
            for name, tensor in _tensors(_read(file, pool), file.stat().st_size)
        }


def _without_source(arguments: ModelArguments) -> dict[str, torch.dtype | str]:
    """What is left where the weights and the configuration are given."""
    given: dict[str, torch.dtype | str] = {"dtype": arguments["dtype"]}
    if "attn_implementation" in arguments:
        given["attn_implementation"] = arguments["attn_implementation"]
    return given


def _tensors(data: torch.Tensor, size: int) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a file's bytes, which they share."""
    begins = _LENGTH + int.from_bytes(data[:_LENGTH].numpy().tobytes(), "little")
    header = json.loads(data[_LENGTH:begins].numpy().tobytes())
    header.pop("__metadata__", None)
    for name, told in header.items():
        kind = _TYPES[told["dtype"]]
        first, last = (begins + offset for offset in told["data_offsets"])
        if last > size:
            msg = f"{name!r} ends behind the file's end"
            raise OSError(msg)
        part = data[first:last]
        whole = part if first % kind.itemsize == 0 else part.clone()  # processors want them aligned
        yield name, whole.view(kind).reshape(told["shape"])


def _read(file: Path, pool: ThreadPoolExecutor) -> torch.Tensor:
    """The bytes of a file, at an address that O_DIRECT takes."""
    size = file.stat().st_size
    room = torch.empty(size + 2 * _BLOCK, dtype=torch.uint8)
    data = room[-room.data_ptr() % _BLOCK :]
    with memoryview(data.numpy().data) as view:
        source = os.open(file, os.O_RDONLY | os.O_DIRECT)
        try:
            begins = range(0, size, _PIECE)
            pieces = [
                pool.submit(_read_piece, source, view, at, min(at + _PIECE, size)) for at in begins
            ]
            problems = [piece.exception() for piece in pieces]  # all have ended before it is closed
        finally:
            os.close(source)
    for problem in problems:
        if problem is not None:
            raise problem
    return data[:size]


def _read_piece(source: int, view: memoryview, begin: int, end: int) -> None:
    while begin < end:
        with view[begin : -(-end // _BLOCK) * _BLOCK] as room:
            got = os.preadv(source, [room], begin)
        if not got:
            msg = "a file of weights has become shorter while it was read"
            raise OSError(msg)
        begin += got


def _is_cached(files: Sequence[Path]) -> bool:
    """Whether most of what is looked at, here and there, can be had without the disk."""
    found = looked = 0
    for file in files:
        number = os.open(file, os.O_RDONLY)
        try:
            size = file.stat().st_size
            for at in range(0, size, max(size // _LOOKS, _APART)):
                looked += 1
                with suppress(OSError):  # it would have to wait, or this file system does not tell
                    found += os.preadv(number, [bytearray(1)], at, os.RWF_NOWAIT)
        finally:
            os.close(number)
    return 2 * found > looked


def _fits(files: Sequence[Path]) -> bool:
    size = sum(file.stat().st_size for file in files)
    return bool(files) and size <= _SHARE * available_bytes()
