"""How many containers, how long they stay, and how long things may take."""

from __future__ import annotations

from typing import Annotated, Self, TypedDict

from pydantic import Field, Strict, model_validator

from .._values import Value, between
from ..errors import DeclarationError

__all__ = ["ConcurrentOptions", "Scaling", "ScalingOptions", "ServerScalingOptions"]

# Modal's documented limit for timeouts: 24 hours.
_DAY_S = 86_400


class _SharedOptions(TypedDict, total=False):
    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: int
    startup_timeout: int


class ScalingOptions(_SharedOptions, total=False):
    """The scaling keywords of ``app.cls`` and ``app.function``."""

    timeout: int
    single_use_containers: bool
    retries: int


class ConcurrentOptions(TypedDict, total=False):
    """The keywords of ``modal.concurrent``."""

    max_inputs: int
    target_inputs: int


class ServerScalingOptions(_SharedOptions, total=False):
    """The scaling keywords of ``app.server``."""

    max_concurrency: int
    target_concurrency: float


class Scaling(Value):
    """How a service scales, in Modal's own words; times are whole seconds.

    The defaults suit large models: twenty minutes to start, since loading weights takes minutes
    and Modal would otherwise give start-up and each input 300 s together; five minutes before an
    idle container goes, since the next start is slow.

    Args:
        min_containers: Containers kept warm with no traffic; each costs its GPU around the clock.
            Default 0.
        max_containers: Most containers at once. Default: no limit but the account's.
        buffer_containers: Idle containers added while there is traffic. Default: Modal's.
        scaledown_window: Seconds an idle container stays, 2 to 3600. Default 300.
        concurrency: Inputs one container takes at once. Default: modalkit chooses by engine.
        target_concurrency: Inputs per container at which Modal adds containers. Fractions only for
            a server endpoint. Default: the same as ``concurrency``.
        timeout: Seconds one input may take, 1 to 86400. A server endpoint has no such limit.
            Default 600.
        startup_timeout: Seconds a container may take to load, 1 to 86400. Default 1200.
        single_use: A fresh container for every input. Default false.
        retries: Times Modal tries a failed input again, with 1 s between. Default 0.

    Raises:
        DeclarationError: A number out of Modal's range, or two that contradict each other.

    Examples:
        >>> Scaling(max_containers=4).to_modal()["startup_timeout"]
        1200
        >>> Scaling(min_containers=3, max_containers=2)
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Scaling.min_containers is 3, more than max_containers, 2. Raise max_containers to 3.
    """

    min_containers: Annotated[int, Strict(), between(0)] = 0
    max_containers: Annotated[int | None, Field(strict=True), between(1)] = None
    buffer_containers: Annotated[int | None, Field(strict=True), between(0)] = None
    scaledown_window: Annotated[int, Strict(), between(2, 3600, "seconds")] = 300
    concurrency: Annotated[int | None, Field(strict=True), between(1)] = None
    target_concurrency: Annotated[float | None, Field(strict=True), between(1)] = None
    timeout: Annotated[int, Strict(), between(1, _DAY_S, "seconds")] = 600
    startup_timeout: Annotated[int, Strict(), between(1, _DAY_S, "seconds")] = 1200
    single_use: Annotated[bool, Strict()] = False
    retries: Annotated[int, Strict(), between(0)] = 0

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.max_containers is not None and self.min_containers > self.max_containers:
            msg = (
                f"Scaling.min_containers is {self.min_containers}, more than max_containers, "
                f"{self.max_containers}. Raise max_containers to {self.min_containers}."
            )
            raise DeclarationError(msg)
        self._check_concurrency()
        return self

    def _check_concurrency(self) -> None:
        most, target = self.concurrency, self.target_concurrency
        if most is not None and target is not None and target > most:
            msg = (
                f"Scaling.target_concurrency is {target:g}, more than concurrency, {most}. "
                f"Write a target of at most {most}."
            )
            raise DeclarationError(msg)
        if self.single_use and (most or 1) > 1:
            msg = (
                f"Scaling(single_use=True) gives every input its own container, so concurrency "
                f"cannot be {most}. Leave one of the two out."
            )
            raise DeclarationError(msg)

    def to_modal(self) -> ScalingOptions:
        """Compile to keywords of ``app.cls`` and ``app.function``."""
        options = ScalingOptions(timeout=self.timeout, single_use_containers=self.single_use)
        self._fill(options)
        if self.retries:
            # Modal refuses the keyword on generators even when it is 0.
            options["retries"] = self.retries
        return options

    def to_modal_concurrent(self, chosen: int = 1) -> ConcurrentOptions:
        """Compile to keywords of ``modal.concurrent``.

        Args:
            chosen: Inputs at once where the declaration leaves ``concurrency`` open; never fewer
                than the declared target. Default 1.

        Raises:
            DeclarationError: A fractional target, which only a server endpoint can have.
        """
        target = self.target_concurrency
        if target is not None and not target.is_integer():
            msg = (
                f"Scaling.target_concurrency is {target:g}, but fractions are only for "
                f"Endpoint(kind='server'). Write {max(1, round(target))}."
            )
            raise DeclarationError(msg)
        if self.single_use:
            return ConcurrentOptions(max_inputs=1)
        if target is None:
            return ConcurrentOptions(max_inputs=self.concurrency or chosen)
        most = self.concurrency or max(chosen, int(target))
        return ConcurrentOptions(max_inputs=most, target_inputs=int(target))

    def to_modal_server(self) -> ServerScalingOptions:
        """Compile to the scaling keywords of ``app.server``.

        Raises:
            DeclarationError: ``single_use`` or ``retries``, which a server cannot have.
        """
        if self.single_use or self.retries:
            given = "single_use=True" if self.single_use else f"retries={self.retries}"
            msg = f"Scaling({given}) has no effect on Endpoint(kind='server'). Leave it out."
            raise DeclarationError(msg)
        options = ServerScalingOptions()
        self._fill(options)
        if self.concurrency is not None:
            options["max_concurrency"] = self.concurrency
        if self.target_concurrency is not None:
            options["target_concurrency"] = self.target_concurrency
        return options

    def _fill(self, options: _SharedOptions) -> None:
        options["min_containers"] = self.min_containers
        options["scaledown_window"] = self.scaledown_window
        options["startup_timeout"] = self.startup_timeout
        if self.max_containers is not None:
            options["max_containers"] = self.max_containers
        if self.buffer_containers is not None:
            options["buffer_containers"] = self.buffer_containers
