"""What a model's files hold, read from their safetensors headers by range requests: no weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from ..errors import HubError
from ..sizing.model import ModelFacts
from ..sizing.stored import Stored, summed
from .connection import TIMEOUT_S, explained, hub_api, is_offline
from .models import HubModel

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["facts_of", "read_headers"]

_AT_ONCE = 8
_UNCERTAIN = 0.005  # how far files and config may be apart before the headers are asked


def facts_of(model: HubModel, headers: Literal["auto", "always"] = "auto") -> ModelFacts:
    """Size a model, with the headers of its files where they make the count exact.

    Args:
        model: From `find_model`.
        headers: ``"auto"`` reads them of a single file, and of several where their sizes are not what the
            config says. Each file is a request or two of its first bytes.

    Raises:
        HubError: As `find_model`; with ``"always"`` also where there are no headers to read.
        SizingError: An architecture this version does not know.
    """
    if headers == "always":
        if problem := _no_headers(model):
            raise HubError(problem)
        return model.facts(read_headers(model))
    facts = model.facts()
    if _no_headers(model) or not _is_uncertain(model, facts):
        return facts
    found = read_headers(model, unreadable_is_empty=True)
    return model.facts(found) if found.bytes else facts


def _no_headers(model: HubModel) -> str:
    """Why no headers can be read; empty if they can."""
    if is_offline():
        return f"{model.id!r}: headers are read from the hub, and HF_HUB_OFFLINE is set. Unset it, or leave --headers out."
    if model.missing:
        return f"{model.id!r}: {', '.join(model.missing)} of the index is not there, so that headers say nothing."
    if not model.weights or not all(file.name.endswith(".safetensors") for file in model.weights):
        return f"{model.id!r} has no safetensors files, and only those have headers. Leave --headers out."
    return ""


def _is_uncertain(model: HubModel, facts: ModelFacts) -> bool:
    expected = facts.weight_bytes + facts.extra_stored_bytes
    apart = abs(facts.stored_bytes - expected) > _UNCERTAIN * expected
    return apart or len(model.weights) == 1


def read_headers(model: HubModel, *, unreadable_is_empty: bool = False) -> Stored:
    """Read the headers of a model's weight files.

    Args:
        model: From `find_model`.
        unreadable_is_empty: Return nothing where a file has no safetensors header, instead of raising.

    Raises:
        HubError: The hub refuses or is down, or a file has no safetensors header.
    """
    from huggingface_hub.errors import SafetensorsParsingError  # noqa: PLC0415 - an extra brings it

    with explained(model.id, model.commit):
        api = hub_api()
        names = [file.name for file in model.weights]
        try:
            with ThreadPoolExecutor(_AT_ONCE, "headers") as pool:
                return summed(pool.map(lambda name: _header(api, model, name), names))
        except SafetensorsParsingError:
            if unreadable_is_empty:
                return Stored()
            raise


def _header(api: HfApi, model: HubModel, name: str) -> dict[str, Any]:
    read = api.parse_safetensors_file_metadata(
        model.id, name, revision=model.commit, timeout=TIMEOUT_S
    )
    return {
        tensor: {"dtype": one.dtype, "shape": one.shape, "data_offsets": one.data_offsets}
        for tensor, one in read.tensors.items()
    }
