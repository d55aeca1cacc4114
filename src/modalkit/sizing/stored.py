"""What a model's weight files hold, by their headers: from a folder, or read from the hub.

Only the files that the index names count: a repository may hold the same weights again in
``original/`` or ``metal/``. Nothing of a file but its header is read.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Stored", "header_of", "stored_in", "summed"]

Header = Mapping[str, Any]
"""A safetensors header: for each tensor its ``dtype``, ``shape`` and ``data_offsets``."""

# Transformers' names, then those of Mistral's own format; the first that is there counts.
_NAMES = ("model.safetensors", "consolidated.safetensors")
_LONGEST_HEADER = 100 * 1024**2  # the format's own limit
_PLAIN = {"F64", "F32", "F16", "BF16"}
# Stored, but no parameters of the model that answers: what predicts further tokens, and what is worked out.
_ASIDE = re.compile(
    r"(^|\.)(mtp|nextn|eh_proj|enorm|hnorm|shared_head)\b|rotary_emb\.inv_freq$|masked_bias$"
)
_MASK = re.compile(r"(^|\.)attn\.bias$")  # GPT-2's causal mask, stored as if it were a parameter
_LAYER = re.compile(r"^(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d+)\.")
_HEAD = re.compile(r"(^|\.)lm_head\.weight$")


@dataclass(frozen=True, slots=True)
class Stored:
    """What weight files hold.

    Attributes:
        bytes: Of their tensors; 0 if nobody knows.
        counts: Parameters of each tensor by name; empty where only the bytes are known, or where
            weights are packed, so that numbers of a tensor are not parameters.
    """

    bytes: int = 0
    counts: Mapping[str, int] | None = None

    def parameters(self, *, layers: int, tied: bool) -> int:
        """Return the parameters of the model that answers; 0 if the files do not tell.

        Args:
            layers: Layers of the text model; what comes after them predicts further tokens.
            tied: The output head is the embedding; a stored copy of it counts once.
        """
        return sum(
            count
            for name, count in (self.counts or {}).items()
            if not _ASIDE.search(name)
            and not (tied and _HEAD.search(name))
            and not (layers and _beyond(name, layers))
        )


def _beyond(name: str, layers: int) -> bool:
    number = _LAYER.match(name)
    return number is not None and int(number[1]) >= layers


def summed(headers: Iterable[Header]) -> Stored:
    """Return what files hold together by their headers.

    Raises:
        KeyError: A header lacks what the format asks for.
    """
    size, plain = 0, True
    counts: dict[str, int] = {}
    for header in headers:
        tensors = {name: one for name, one in header.items() if name != "__metadata__"}
        size += max((one["data_offsets"][1] for one in tensors.values()), default=0)
        plain = plain and all(one["dtype"] in _PLAIN for one in tensors.values())
        counts |= {
            name: math.prod(one["shape"])
            for name, one in tensors.items()
            if not (_MASK.search(name) and len(one["shape"]) == 4)  # noqa: PLR2004
        }
    return Stored(size, counts if plain else None)


def stored_in(folder: Path) -> Stored:
    """Return what a folder's safetensors files hold, by the files' own headers.

    Where a file that the index names is not there yet, the index's ``total_size`` counts.

    Returns:
        Nothing where there is neither, or nothing that reads as safetensors: then the config alone
        counts, and whether the files are whole is for the lock to find out.
    """
    try:
        return _in_folder(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error):
        return Stored()


def _in_folder(folder: Path) -> Stored:
    for single in _NAMES:
        index = folder / f"{single}.index.json"
        if index.is_file():
            return _indexed(index)
        if (folder / single).is_file():
            return summed([header_of(folder / single)])
    return Stored()


def _indexed(index: Path) -> Stored:
    described: dict[str, Any] = json.loads(index.read_text("utf-8"))
    files = sorted(set(described["weight_map"].values()))
    folder = index.parent
    if all((folder / name).is_file() for name in files):
        return summed(header_of(folder / name) for name in files)
    return Stored(int(described["metadata"]["total_size"]))


def header_of(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file: eight bytes of length, then JSON.

    Raises:
        OSError: It cannot be read.
        ValueError: It is something else, or cut off in its header.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0  # noqa: PLR2004
        if not 2 <= length <= _LONGEST_HEADER:  # noqa: PLR2004 - "{}"
            msg = "no safetensors header"
            raise ValueError(msg)
        header: dict[str, Any] = json.loads(file.read(length))
    return header
