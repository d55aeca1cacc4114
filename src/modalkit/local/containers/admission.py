"""Whether a container may start now: devices for it, and what its function is told about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import LocalModalError
from .gpus import Gpus, Lease

if TYPE_CHECKING:
    from ..apps.functions import FunctionEntry

__all__ = ["Admission"]


@dataclass
class Admission:
    """Hands GPUs to containers that are about to start.

    Attributes:
        gpus: What this machine has.
        strict: Refuse a function that asks for more than that.
        notice: Told short sentences for the user.
        waiting: Called, in turn, when devices are given back.
    """

    gpus: Gpus
    strict: bool
    notice: Callable[[str], None]
    waiting: list[Callable[[], None]] = field(default_factory=list)

    def admit(self, function: FunctionEntry) -> Lease | None:
        """Return what a container of a function gets; None if it has to wait.

        Raises:
            LocalModalError: The function asks for GPUs that this machine does not have.
        """
        wanted = _wanted(function)
        if not wanted:
            return Lease()
        self._compare(function, wanted)
        lease = self.gpus.take(wanted)
        if lease is None:
            self.notice(
                f"{function.name!r} waits for a GPU: all {len(self.gpus.devices)} of this machine "
                "are taken"
            )
        return lease

    def wait(self, ready: Callable[[], None]) -> None:
        """Have ``ready`` called when something was given back."""
        if ready not in self.waiting:
            self.waiting.append(ready)

    def give_back(self, lease: Lease) -> None:
        """Take a container's devices back."""
        lease.release()
        if lease.devices:
            waiting, self.waiting = self.waiting, []
            for ready in waiting:
                ready()

    def variables(self, lease: Lease) -> dict[str, str]:
        """Return a container's variables; one without GPUs sees none where the machine has some."""
        return lease.variables() if self.gpus.likely else {}

    def _compare(self, function: FunctionEntry, wanted: int) -> None:
        """Tell, or refuse, where this machine has fewer devices than a function asks for."""
        here = len(self.gpus.devices)
        if here >= wanted:
            return
        config = function.definition.resources.gpu_config
        asked = f"gpu={f'{config.gpu_type}:{wanted}' if wanted > 1 else config.gpu_type!s}"
        has = f"this machine has {here or 'none'}"
        if self.strict:
            msg = (
                f"{function.name!r} asks for {asked} and {has}. Leave out --strict-gpu to run it "
                "on what is here, or run it on a machine with enough GPUs."
            )
            raise LocalModalError(msg)
        self.notice(
            f"{function.name!r} asks for {asked} and {has}: it runs {'on those' if here else 'without'}"
        )


def _wanted(function: FunctionEntry) -> int:
    """Return how many devices a container of a function asks for."""
    config = function.definition.resources.gpu_config
    return max(config.count, 1) if config.gpu_type or config.type else 0
