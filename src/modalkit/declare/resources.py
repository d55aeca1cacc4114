"""CPU, memory and disk of a container, and where in the world it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Self, TypedDict

from pydantic import Field, Strict, ValidationInfo, field_validator, model_validator

from .._names import check_region
from .._values import Value, between, did_you_mean, one_of
from ..errors import DeclarationError

__all__ = ["ResourceOptions", "Resources", "ServerResourceOptions"]

# Modal's documented reservation of a container that asks for nothing, and so the least that means
# anything; the largest disk is documented too. The most CPU and memory depend on the account.
_LEAST_CORES = 0.125
_LEAST_MEMORY_MIB = 128
_MOST_DISK_MIB = 3 * 1024 * 1024

_CLOUDS = ("auto", "aws", "gcp", "oci")


class _SharedOptions(TypedDict, total=False):
    cpu: float | tuple[float, float]
    memory: int | tuple[int, int]
    ephemeral_disk: int
    cloud: str
    nonpreemptible: bool


class ResourceOptions(_SharedOptions, total=False):
    """The resource keywords of ``app.cls`` and ``app.function``."""

    region: list[str]


class ServerResourceOptions(_SharedOptions, total=False):
    """The resource keywords of ``app.server``."""

    compute_region: list[str]


class Resources(Value):
    """What a container gets beside its GPU; what is left out is Modal's choice.

    Args:
        cpu: Physical cores, or ``(request, limit)``; at least 0.125. Default: Modal's 0.125, with
            more while the machine has it.
        memory_mib: Memory in MiB, or ``(request, limit)``; at least 128. A container over its limit
            is killed. Default: Modal's 128, with more while the machine has it.
        disk_mib: Local disk in MiB, at most 3145728 (3 TiB). Every 20 MiB of it raise the billed
            memory by 1 MiB. Default: Modal's quota.
        region: One region or several to choose from (``"us-east"``, ``["eu", "uk"]``). Naming one
            raises the price. Default: anywhere.
        cloud: ``"aws"``, ``"gcp"``, ``"oci"`` or ``"auto"``. Default: any.
        nonpreemptible: Never moved away while running, for CPU containers at a higher price.
            Default false.

    Raises:
        DeclarationError: An amount out of range, a limit below its request, an unknown cloud.

    Examples:
        >>> Resources(cpu=8, memory_mib=(32_768, 65_536)).to_modal()
        {'cpu': 8.0, 'memory': (32768, 65536)}
        >>> Resources(cloud="azure")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Resources.cloud 'azure' is not a cloud of Modal's. Write one of auto, aws, gcp or oci.
    """

    cpu: float | tuple[float, float] | None = None
    memory_mib: int | tuple[int, int] | None = None
    disk_mib: Annotated[int | None, Field(strict=True), between(1, _MOST_DISK_MIB, "MiB")] = None
    region: tuple[str, ...] = ()
    cloud: str | None = None
    nonpreemptible: Annotated[bool, Strict()] = False

    def __init__(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory_mib: int | tuple[int, int] | None = None,
        disk_mib: int | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        nonpreemptible: bool = False,
    ) -> None:
        regions = (region,) if isinstance(region, str) else tuple(region or ())
        super().__init__(
            cpu=cpu,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            region=regions,
            cloud=cloud,
            nonpreemptible=nonpreemptible,
        )

    @field_validator("cpu", "memory_mib", mode="before")
    @classmethod
    def _is_amount(cls, amount: object, info: ValidationInfo) -> object:
        return None if amount is None else _as_amount(str(info.field_name), amount)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _check_amount("cpu", self.cpu, _LEAST_CORES, "cores")
        _check_amount("memory_mib", self.memory_mib, _LEAST_MEMORY_MIB, "MiB")
        for region in self.region:
            check_region("Resources.region", region)
        if self.cloud is not None and self.cloud not in _CLOUDS:
            msg = (
                f"Resources.cloud {self.cloud!r} is not a cloud of Modal's."
                f"{did_you_mean(self.cloud, _CLOUDS)} Write one of {one_of(_CLOUDS)}."
            )
            raise DeclarationError(msg)
        return self

    def to_modal(self) -> ResourceOptions:
        """Compile to keywords of ``app.cls`` and ``app.function``; what is unset is left out."""
        options = ResourceOptions()
        self._fill(options)
        if self.region:
            options["region"] = list(self.region)
        return options

    def to_modal_server(self) -> ServerResourceOptions:
        """Compile to keywords of ``app.server``, where the region is ``compute_region``."""
        options = ServerResourceOptions()
        self._fill(options)
        if self.region:
            options["compute_region"] = list(self.region)
        return options

    def _fill(self, options: _SharedOptions) -> None:
        if self.cpu is not None:
            options["cpu"] = self.cpu
        if self.memory_mib is not None:
            options["memory"] = self.memory_mib
        if self.disk_mib is not None:
            options["ephemeral_disk"] = self.disk_mib
        if self.cloud is not None:
            options["cloud"] = self.cloud
        if self.nonpreemptible:
            options["nonpreemptible"] = True


def _as_amount(field: str, amount: object) -> object:
    """Return a number as it is, and a pair, which JSON makes a list, as a tuple."""
    whole = field == "memory_mib"
    if isinstance(amount, tuple | list):
        if len(amount) == 2 and all(_is_number(one, whole=whole) for one in amount):  # noqa: PLR2004 - request, limit
            return tuple(amount)
    elif _is_number(amount, whole=whole):
        return amount
    msg = (
        f"Resources.{field} must be {'a whole number' if whole else 'a number'} or a pair "
        f"(request, limit), got {amount!r}. Write {'8192' if whole else '4.0'}."
    )
    raise DeclarationError(msg)


def _is_number(one: object, *, whole: bool) -> bool:
    if isinstance(one, bool) or not isinstance(one, int if whole else int | float):
        return False
    return math.isfinite(one)


def _check_amount(
    field: str, amount: float | tuple[float, float] | None, least: float, unit: str
) -> None:
    if amount is None:
        return
    request, limit = amount if isinstance(amount, tuple) else (amount, amount)
    if request < least:
        msg = f"Resources.{field} must be at least {least:g} {unit}, got {request:g}."
        raise DeclarationError(msg)
    if limit < request:
        msg = (
            f"Resources.{field} has a limit of {limit:g} {unit}, below its request of {request:g}. "
            f"Write ({limit:g}, {request:g})."
        )
        raise DeclarationError(msg)
