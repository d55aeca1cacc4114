"""A breakdown of memory: lines that a person can add up, each with its arithmetic and its source."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Breakdown", "Line"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a breakdown.

    Attributes:
        what: Such as ``"weights"``.
        bytes: On one GPU.
        source: Where the formula is from.
        formula: The arithmetic, in figures; fractions of a byte are rounded up.
        parts: What it consists of; their bytes make its own.
        outside: Whether the engine's share of the card (``memory_fraction``) leaves it out.
    """

    what: str
    bytes: int
    source: str
    formula: str = ""
    parts: tuple[Line, ...] = ()
    outside: bool = False

    @property
    def how(self) -> str:
        """The arithmetic and where it is from, in one."""
        return f"{self.formula}; {self.source}" if self.formula else self.source


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What one GPU of a split holds.

    Attributes:
        total_bytes: What CUDA reports in total.
        lines: What takes it.
        note: What to know of the formulas; empty where there is nothing.
    """

    total_bytes: int
    lines: tuple[Line, ...]
    note: str = ""

    @property
    def used_bytes(self) -> int:
        """Everything together."""
        return sum(line.bytes for line in self.lines)

    @property
    def free_bytes(self) -> int:
        """What is left; negative when it does not fit."""
        return self.total_bytes - self.used_bytes

    @property
    def fits(self) -> bool:
        """Whether it fits."""
        return self.free_bytes >= 0
