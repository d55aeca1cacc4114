"""Modal's prices: the catalogue's, with their date, or an account's own laid over them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Self

from .._values import Value
from ..declare.gpu import gpu_catalogue

__all__ = ["LIST_PRICES", "Difference", "Rates"]

LIST_PRICES = "Modal's list prices"
"""Where prices are from that no account was asked for."""

_HOUR_S = 3600
_ROUNDING = 0.01  # billing rates are rounded to about three digits: T4 is 0.59 for 0.5904


@cache
def _catalogue() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (files("modalkit") / "data" / "gpu_catalog.json").read_text("utf-8")
    )
    return loaded


class Difference(Value):
    """A price that an account pays otherwise than the list says.

    Attributes:
        rate: Modal's name of the rate, such as ``"gpu_hour_cost_h100"``.
        listed: The catalogue's price in USD.
        billed: The account's.
    """

    rate: str
    listed: float
    billed: float


class Rates(Value):
    """Prices in USD, and where they are from.

    Attributes:
        gpu_hour: One GPU, by Modal's name for its type.
        core_hour: One physical core.
        gib_hour: One GiB of memory.
        volume_gib_month: One GiB kept in a Volume for a month.
        broad_region: Factor where a broad region is chosen (``"us"``).
        narrow_region: Factor where only narrow ones are (``"us-west"``).
        nonpreemptible: Factor on CPU and memory of a CPU container that is never moved.
        source: Where the prices are from.
        read_on: The day they were read, ``YYYY-MM-DD``.

    Examples:
        >>> round(Rates.offline().gpu_hour["H100"], 2)
        3.95
    """

    gpu_hour: Mapping[str, float]
    core_hour: float
    gib_hour: float
    volume_gib_month: float
    broad_region: float
    narrow_region: float
    nonpreemptible: float
    source: str
    read_on: str

    @classmethod
    def offline(cls) -> Self:
        """Return the list prices that come with modalkit."""
        written = _catalogue()
        return cls(
            gpu_hour={gpu.name: gpu.usd_per_second * _HOUR_S for gpu in gpu_catalogue().values()},
            core_hour=written["cpu"]["usd_core_s"] * _HOUR_S,
            gib_hour=written["memory"]["usd_gib_s"] * _HOUR_S,
            volume_gib_month=written["volume"]["usd_gib_month"],
            broad_region=written["region_multiplier"]["broad"],
            narrow_region=written["region_multiplier"]["narrow"],
            nonpreemptible=written["nonpreemptible"]["multiplier"],
            source=LIST_PRICES,
            read_on=written["read_on"],
        )

    def with_billed(self, billed: Mapping[str, float], read_on: str) -> Self:
        """Lay an account's own rates over these; a rate it does not name stays as it is.

        Args:
            billed: USD by rate key, as ``Workspace.billing.rates()`` returns them.
            read_on: The day they were asked for, ``YYYY-MM-DD``.
        """
        gpus = {gpu.name: gpu.rate_key for gpu in gpu_catalogue().values()}
        core, memory, volume = _other_keys()
        return self.model_copy(
            update={
                "gpu_hour": {
                    name: float(billed.get(gpus[name], usd)) for name, usd in self.gpu_hour.items()
                },
                "core_hour": float(billed.get(core, self.core_hour)),
                "gib_hour": float(billed.get(memory, self.gib_hour)),
                "volume_gib_month": float(billed.get(volume, self.volume_gib_month)),
                "source": "the account's rates",
                "read_on": read_on,
            }
        )

    def differences(self, billed: Mapping[str, float]) -> tuple[Difference, ...]:
        """Return every rate of an account that is not this price, by more than it is rounded."""
        return tuple(
            Difference(rate=key, listed=usd, billed=float(billed[key]))
            for key, usd in self._by_key().items()
            if key in billed and abs(float(billed[key]) - usd) > _ROUNDING * usd
        )

    def _by_key(self) -> dict[str, float]:
        core, memory, volume = _other_keys()
        gpus = {gpu.rate_key: self.gpu_hour[gpu.name] for gpu in gpu_catalogue().values()}
        return {
            **gpus,
            core: self.core_hour,
            memory: self.gib_hour,
            volume: self.volume_gib_month,
        }


def _other_keys() -> tuple[str, ...]:
    """The keys of CPU, memory and Volumes in Modal's billing rates."""
    written = _catalogue()
    return tuple(str(written[part]["rate_key"]) for part in ("cpu", "memory", "volume"))
