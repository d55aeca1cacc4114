"""How a container comes to serve its first request, as one declaration, and the record of a start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from .._values import Value, between
from ..errors import DeclarationError

if TYPE_CHECKING:
    import modal

__all__ = ["PHASES", "ColdStart", "ColdStartRecord", "CompileVolume", "startup_timeout_s"]

# What a start may be made of; it has some of them, mostly in this order.
PHASES = (
    "container",
    "imports",
    "weights",
    "engine",
    "compile",
    "load",
    "warm_up",
    "snapshot",
    "restore",
    "wake",
)

_DAY_S = 86_400
# Imports, kernels and CUDA graphs: minutes at the first start of an engine that compiles, on any model.
_ENGINE_S = {True: 600, False: 300}
# A hub's download at its slowest; reading a Volume is ten times faster (Modal: 1-2 GB/s).
_BYTES_PER_S = 100_000_000
_MINUTE_S = 60


class ColdStart(Value):
    """How a container gets from nothing to its first answer.

    Args:
        snapshot: What Modal keeps of a container that has started and puts back into the next:
            ``"cpu"`` its memory, ``"gpu"`` its GPUs' memory too (alpha on Modal), ``None`` nothing.
            Only deployed apps have snapshots, after their first few cold starts. Default ``None``.
        warm_up: Real requests an engine must answer before it counts as ready, 1 to 100. The first
            proves that it answers at all, more bring kernels and caches up to speed. Default 3.
        compile_cache: Keep compiled kernels on a Volume where the service has a `WeightCache`; on
            one of their own beside weights that are mounted read-only. Default true.
        budget_s: Seconds a cold start may take, for ``modalkit cold-start``, which fails above it,
            and for the log, which says so. Default: none.

    Raises:
        DeclarationError: A number out of range.

    Examples:
        >>> ColdStart(snapshot="gpu", budget_s=20).warm_up
        3
        >>> ColdStart(warm_up=0)
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: ColdStart.warm_up must be 1 to 100, got 0.
    """

    snapshot: Literal["gpu", "cpu"] | None = None
    warm_up: Annotated[int, Strict(), between(1, 100)] = 3
    compile_cache: Annotated[bool, Strict()] = True
    budget_s: Annotated[float | None, between(0.1, _DAY_S, "seconds")] = None

    def words(self) -> str:
        """Return it in words, for a plan.

        Examples:
            >>> ColdStart(snapshot="gpu", warm_up=1, budget_s=20).words()
            'gpu snapshot, 1 warm-up request, within 20 s'
            >>> ColdStart().words()
            'no snapshot, 3 warm-up requests, no budget'
        """
        parts = [f"{self.snapshot or 'no'} snapshot"]
        parts.append(f"{self.warm_up} warm-up request{'s' if self.warm_up > 1 else ''}")
        if not self.compile_cache:
            parts.append("compiled kernels not kept")
        parts.append("no budget" if self.budget_s is None else f"within {self.budget_s:g} s")
        return ", ".join(parts)

    def to_modal(self) -> dict[str, object]:
        """Compile to keywords of ``app.cls`` and ``app.server``."""
        if self.snapshot is None:
            return {}
        keywords: dict[str, object] = {"enable_memory_snapshot": True}
        if self.snapshot == "gpu":
            keywords["experimental_options"] = {"enable_gpu_snapshot": True}
        return keywords


class CompileVolume(Value):
    """A Volume for compiled kernels alone, beside weights that are mounted read-only.

    Args:
        name: The Volume's name in Modal.
        environment_name: Modal environment to look in. Default: the active one.
        mount: Where it appears in the container.
    """

    name: str
    environment_name: str | None = None
    mount: str = "/modalkit-compiled"

    def to_modal(self) -> dict[str, modal.Volume]:
        """Compile to an entry of Modal's ``volumes=`` argument."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        volume = modal.Volume.from_name(
            self.name, environment_name=self.environment_name, create_if_missing=True, version=2
        )
        return {self.mount: volume}


def startup_timeout_s(weight_bytes: int, *, compiles: bool) -> int:
    """Return the seconds a start may take with weights of this size, in whole minutes.

    Args:
        weight_bytes: Bytes of all files of the model.
        compiles: Whether the engine compiles kernels and captures graphs.

    Examples:
        >>> startup_timeout_s(16_000_000_000, compiles=True)  # an 8B model in bfloat16
        780
        >>> startup_timeout_s(690_000_000_000, compiles=True)
        7500
    """
    seconds = _ENGINE_S[compiles] + weight_bytes / _BYTES_PER_S
    return min(-int(-seconds // _MINUTE_S) * _MINUTE_S, _DAY_S)


class ColdStartRecord(Value):
    """What one container's start took: the line it logs, read and written.

    Attributes:
        service: The class.
        phases: Seconds of each of `PHASES` that it had, in the order in which they passed.
        total_s: Seconds from the container's start, as far as it can be seen from inside, to ready.
        budget_s: What was declared.
        snapshot: What was declared.
        restored: Whether the container came out of a snapshot; its phases are then those after it.
        began_at: When its process began, in seconds since 1970.
        container: Modal's id of the container.
    """

    service: str
    phases: Mapping[str, float] = Field(default_factory=dict)
    total_s: float
    budget_s: float | None = None
    snapshot: Literal["gpu", "cpu"] | None = None
    restored: bool = False
    began_at: float = 0.0
    container: str = ""

    @property
    def within_budget(self) -> bool:
        """Whether it took no longer than declared; true without a budget."""
        return self.budget_s is None or self.total_s <= self.budget_s

    def line(self) -> str:
        """Return the line a container logs: one JSON object."""
        return json.dumps({"event": "modalkit.cold_start", **self.model_dump(mode="json")})

    @classmethod
    def of_line(cls, line: str) -> ColdStartRecord | None:
        """Return the record a line of a log holds, whatever stands before it; None if it holds none.

        Examples:
            >>> record = ColdStartRecord(service="Chat", total_s=1.5)
            >>> ColdStartRecord.of_line(f"12:00:01 ta-1 {record.line()}") == record
            True
        """
        start = line.find('{"event": "modalkit.cold_start"')
        if start < 0:
            return None
        with suppress(ValueError, DeclarationError):
            fields, _ = json.JSONDecoder().raw_decode(line, start)
            del fields["event"]
            return cls(**fields)
        return None
