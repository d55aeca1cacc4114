"""Modal's GPUs as data.

The catalogue is ``data/gpu_catalog.json``, read from Modal's documentation and price list on the
date it names; every figure's source is in the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["GPU", "catalogue_date", "gpu_catalogue", "gpu_spelling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GPU:
    """One GPU type that Modal rents, as the catalogue describes it.

    Attributes:
        name: Modal's string for it, such as ``"H100"``.
        aliases: Other strings Modal accepts for it.
        pinned: The string that refuses an automatic upgrade (``"H100!"``), if there is one.
        superset: The string that also accepts a larger card (``"B200+"``), if there is one.
        max_count: GPUs per container at most; ``None`` where Modal does not state it.
        nominal_gb: Memory as sold, in GB.
        total_gib: Memory that CUDA reports in total, in GiB: size on this one.
        bandwidth_gb_per_s: Memory bandwidth in GB/s.
        bf16_tflops: Dense bf16 throughput; ``None`` where the card has none.
        fp16_tflops: Dense fp16 throughput where it differs from bf16.
        fp8_tflops: fp8 throughput; ``None`` where the card has none.
        fp4_tflops: fp4 throughput; ``None`` where the card has none.
        compute_capability: CUDA compute capability, such as ``"9.0"``.
        usd_per_second: List price per GPU.
        usd_per_hour: List price per GPU, as Modal's billing rates round it.
        rate_key: The name of that rate in Modal's billing rates.
        min_cuda: The oldest CUDA it works with, where Modal states one.
        note: What a buyer should know.
    """

    name: str
    aliases: tuple[str, ...] = ()
    pinned: str | None = None
    superset: str | None = None
    max_count: int | None
    nominal_gb: int
    total_gib: float
    bandwidth_gb_per_s: float
    bf16_tflops: float | None = None
    fp16_tflops: float | None = None
    fp8_tflops: float | None = None
    fp4_tflops: float | None = None
    compute_capability: str
    usd_per_second: float
    usd_per_hour: float
    rate_key: str
    min_cuda: str | None = None
    note: str = ""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every string Modal accepts for this card, its name first."""
        extra = (self.pinned, self.superset)
        return (self.name, *self.aliases, *(word for word in extra if word))


@cache
def _catalogue_file() -> dict[str, object]:
    text = (files("modalkit") / "data" / "gpu_catalog.json").read_text("utf-8")
    loaded: dict[str, object] = json.loads(text)
    return loaded


@cache
def gpu_catalogue() -> dict[str, GPU]:
    """Return every GPU type of the catalogue by every string Modal accepts for it."""
    rows = _catalogue_file()["gpus"]
    assert isinstance(rows, list)  # noqa: S101 - our own data file, held by a test
    gpus = [GPU(**{**row, "aliases": tuple(row.get("aliases", ()))}) for row in rows]
    return {spelling: gpu for gpu in gpus for spelling in gpu.spellings}


@cache
def _spellings() -> dict[str, str]:
    return {word.upper(): word for word in gpu_catalogue()}


def gpu_spelling(name: str) -> str:
    """Return a type as the catalogue spells it; Modal takes ``"h100"`` for ``"H100"``.

    A name that is not in the catalogue comes back without the spaces around it.

    Examples:
        >>> gpu_spelling("h100!"), gpu_spelling("rtx-pro-6000"), gpu_spelling("X9")
        ('H100!', 'RTX-PRO-6000', 'X9')
    """
    return _spellings().get(name.strip().upper(), name.strip())


def catalogue_date() -> str:
    """Return the day the catalogue was read, as ``YYYY-MM-DD``."""
    return str(_catalogue_file()["read_on"])
