"""What a service costs: by the hour, by the month under a declared traffic, by the million tokens.

Modal bills a container by the second for its GPUs and for the CPU and memory it asks for or uses, the larger
of the two, and Volumes by the GiB-month. What a container uses beyond what it asks for cannot be known
beforehand and is left out. Pure: rates, plans and traffic are values, and so is the quote.
"""

from __future__ import annotations

from typing import Protocol

from .._values import Value
from ..declare.gpu import GPUProfile, gpu_catalogue
from ..declare.scaling import Scaling
from ..plan import ServicePlan
from .month import DAYS_PER_MONTH, HOURS_PER_MONTH, Day, Throughput, Traffic, day
from .rates import Rates

__all__ = ["Asked", "ContainerPrice", "Month", "Quote", "container_price", "quote"]

_HOUR_S = 3600.0
_LEAST_CORES = 0.125  # Modal's reservation of a container that asks for nothing
_LEAST_MEMORY_MIB = 128
_DISK_PER_MEMORY = 20  # Modal raises the memory request to a twentieth of the disk


class Asked(Protocol):
    """What a container asks for; `Resources` is one."""

    @property
    def cpu(self) -> float | tuple[float, float] | None:
        """Cores, or request and limit."""

    @property
    def memory_mib(self) -> int | tuple[int, int] | None:
        """Memory in MiB, or request and limit."""

    @property
    def disk_mib(self) -> int | None:
        """Local disk in MiB."""

    @property
    def region(self) -> tuple[str, ...]:
        """Regions to choose from."""

    @property
    def nonpreemptible(self) -> bool:
        """Whether it is never moved."""


class ContainerPrice(Value):
    """One container of a service by the hour, in USD.

    Attributes:
        gpu: Its GPUs, of the choice named first.
        dearest_gpu: The GPUs of the dearest choice, which a fallback may be.
        cpu: The cores it asks for.
        memory: The memory it asks for, or that its local disk implies.
        region: The factor of the regions chosen, which all of these count already; 1 without any.
        unpriced: Choices whose price is not known, as Modal writes them.
    """

    gpu: float
    dearest_gpu: float
    cpu: float
    memory: float
    region: float = 1.0
    unpriced: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """A container of the first choice."""
        return self.gpu + self.cpu + self.memory

    @property
    def dearest(self) -> float:
        """A container of the dearest choice."""
        return self.dearest_gpu + self.cpu + self.memory


class Month(Value):
    """A month under a traffic, in USD.

    Attributes:
        busy: Containers with at least one request.
        idle: Containers kept waiting: ``min_containers``, buffers, scaledown windows.
        cold_starts: Containers starting.
        storage: Volumes.
        containers: Containers there at once, on average.
        starts_per_day: Cold starts in a day.
        overloaded: Whether more is asked for than ``max_containers`` can answer.
        usd_per_million_tokens: The month over its prompt and answer tokens; None without any.
        throughput: Where the speed of a container is from.
    """

    busy: float
    idle: float
    cold_starts: float
    storage: float
    containers: float
    starts_per_day: float
    overloaded: bool
    usd_per_million_tokens: float | None
    throughput: str

    @property
    def total(self) -> float:
        """All of it."""
        return self.busy + self.idle + self.cold_starts + self.storage


class Quote(Value):
    """What one service costs, in USD.

    Attributes:
        service: Its name.
        container: One container by the hour.
        least_hour: All containers at rest: ``min_containers``.
        most_hour: All containers at work on the dearest choice; None without ``max_containers``.
        storage_month: Volumes.
        month: A month under the declared traffic, at the slow end of the speed; None without one.
        month_fast: The same at the fast end.
        million_answer_tokens: What a million answer tokens cost of a container that is always full, from
            the fast to the slow end of its speed; None where its speed in tokens is not known.
        speed_source: Where that speed is from; empty where none is known.
        source: Where the prices are from, and when they were read.
        read_on: That day, ``YYYY-MM-DD``.
    """

    service: str
    container: ContainerPrice
    least_hour: float
    most_hour: float | None
    storage_month: float
    month: Month | None = None
    month_fast: Month | None = None
    million_answer_tokens: tuple[float, float] | None = None
    speed_source: str = ""
    source: str
    read_on: str

    def __str__(self) -> str:
        most = "no limit" if self.most_hour is None else f"${self.most_hour:,.2f}"
        return (
            f"{self.service}: ${self.container.total:,.2f} an hour for a container, "
            f"${self.least_hour:,.2f} to {most} for all ({self.source}, {self.read_on})"
        )

    @property
    def least_month(self) -> float:
        """A month without any request."""
        return self.least_hour * HOURS_PER_MONTH + self.storage_month

    @property
    def most_month(self) -> float | None:
        """A month with every container at work all the time; None without ``max_containers``."""
        if self.most_hour is None:
            return None
        return self.most_hour * HOURS_PER_MONTH + self.storage_month


def quote(
    plan: ServicePlan,
    rates: Rates | None = None,
    *,
    traffic: Traffic | None = None,
    throughput: tuple[Throughput, Throughput] | None = None,
    stored_gib: float = 0.0,
) -> Quote:
    """Price a service.

    Args:
        plan: The service.
        rates: The list prices unless given.
        traffic: What it is asked for; without it there is no month.
        throughput: The slow and the fast end of what one container can do; twice the same where it
            was measured. Without it there is no month either.
        stored_gib: Kept in its Volumes.

    Raises:
        DeclarationError: Traffic for more than 10,000 containers at once.
    """
    rates = rates or Rates.offline()
    container = container_price(plan.gpu, plan.resources, rates)
    storage = stored_gib * rates.volume_gib_month
    months = _months(plan.scaling, container.total, storage, traffic, throughput)
    most = plan.scaling.max_containers
    return Quote(
        service=plan.name,
        container=container,
        least_hour=container.total * plan.scaling.min_containers,
        most_hour=None if most is None else container.dearest * most,
        storage_month=storage,
        month=months[0],
        month_fast=months[1],
        million_answer_tokens=_full_load(container.total, throughput),
        speed_source=throughput[0].source if throughput else "",
        source=rates.source,
        read_on=rates.read_on,
    )


def container_price(gpu: GPUProfile | None, resources: Asked, rates: Rates) -> ContainerPrice:
    """Price one container by the hour.

    A chosen region raises everything; ``nonpreemptible`` raises CPU and memory of a CPU container, and
    never a GPU. A GPU type without a price counts as 0 and is named.

    Args:
        gpu: Its GPU choices; None runs on CPU.
        resources: CPU, memory, disk and region.
        rates: The prices.
    """
    region = _region(resources, rates)
    kept = rates.nonpreemptible if resources.nonpreemptible and gpu is None else 1.0
    choices = gpu.choices if gpu else ()
    hours = [_gpu_hour(choice, rates) * region for choice in choices] or [0.0]
    return ContainerPrice(
        gpu=hours[0],
        dearest_gpu=max(hours),
        cpu=_asked(resources.cpu, _LEAST_CORES) * rates.core_hour * kept * region,
        memory=_memory_gib(resources) * rates.gib_hour * kept * region,
        region=region,
        unpriced=tuple(str(choice) for choice in choices if not _gpu_hour(choice, rates)),
    )


def _full_load(
    container_hour: float, throughput: tuple[Throughput, Throughput] | None
) -> tuple[float, float] | None:
    """USD for a million answer tokens, from the fast to the slow end."""
    if throughput is None or not all(speed.tokens_per_s for speed in throughput):
        return None
    slow, fast = (container_hour / _HOUR_S / speed.tokens_per_s * 1e6 for speed in throughput)
    return fast, slow


def _gpu_hour(choice: GPUProfile, rates: Rates) -> float:
    known = gpu_catalogue().get(choice.gpu)
    return rates.gpu_hour.get(known.name, 0.0) * choice.count if known else 0.0


def _memory_gib(resources: Asked) -> float:
    asked = _asked(resources.memory_mib, _LEAST_MEMORY_MIB)
    return max(asked, (resources.disk_mib or 0) / _DISK_PER_MEMORY) / 1024


def _asked(amount: float | tuple[float, float] | None, least: float) -> float:
    if amount is None:
        return least
    return amount[0] if isinstance(amount, tuple) else amount


def _region(resources: Asked, rates: Rates) -> float:
    """The factor of the regions chosen; the lower applies where broad and narrow ones are."""
    if not resources.region:
        return 1.0
    narrow = all("-" in name for name in resources.region)
    return rates.narrow_region if narrow else rates.broad_region


def _months(
    scaling: Scaling,
    container_hour: float,
    storage: float,
    traffic: Traffic | None,
    throughput: tuple[Throughput, Throughput] | None,
) -> tuple[Month | None, Month | None]:
    """A month at the slow and at the fast end; none where nobody knows the traffic or the speed."""
    if traffic is None or throughput is None:
        return None, None
    slow, fast = (
        _month(day(scaling, traffic, speed), container_hour, storage, traffic, speed.source)
        for speed in throughput
    )
    return slow, fast


def _month(
    average: Day, container_hour: float, storage: float, traffic: Traffic, source: str
) -> Month:
    usd = container_hour / _HOUR_S * DAYS_PER_MONTH
    total = average.total_s * usd + storage
    tokens = traffic.tokens_per_month
    return Month(
        busy=average.busy_s * usd,
        idle=average.idle_s * usd,
        cold_starts=average.cold_s * usd,
        storage=storage,
        containers=average.total_s / 86_400,
        starts_per_day=average.cold_starts,
        overloaded=average.overloaded,
        usd_per_million_tokens=total / tokens * 1e6 if tokens else None,
        throughput=source,
    )
