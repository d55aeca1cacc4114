"""What a bench shows while it runs, on stderr: a line that changes, and one that stays for each load."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from ..bench.measuring import Progress

__all__ = ["Display"]

_BAR = 16
_LAST_LINES = 15


class Display:
    """Shows progress for the time of a block.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._status: Status | None = None
        self._heard: deque[str] = deque(maxlen=_LAST_LINES)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, line: str) -> None:
        """Show what goes on."""
        if self._status is not None:
            self._status.update(escape(line))
        self._console.print(line, style="dim", markup=False)

    def hear(self, line: str) -> None:
        """Show what the local Modal prints, while nothing else is to be seen."""
        self._heard.append(line)
        if self._status is not None and line.strip():
            self._status.update(escape(line.strip()[: self._console.width - 4]))

    def last_lines(self) -> str:
        """Return the end of what the local Modal printed, to follow an error; empty if nothing."""
        told = "\n".join(f"  {line}" for line in self._heard if line.strip())
        return f"\nThe last lines:\n{told}" if told else ""

    def tell(self, progress: Progress) -> None:
        """Show how far a load is."""
        line = _line(progress)
        if progress.phase == "done":
            self._console.print(line)
        elif self._status is not None:
            self._status.update(line)


def _line(progress: Progress) -> str:
    load = progress.stage.load.label
    full = round(progress.share * _BAR)
    parts = [f"{progress.answered} answered"]
    if progress.failed:
        parts.append(f"[red]{progress.failed} failed[/]")
    if progress.phase != "done":
        parts += [f"{progress.under_way} under way", f"{progress.requests_per_s:.1f} req/s"]
        if progress.tokens_per_s:
            parts.append(f"{progress.tokens_per_s:,.0f} tok/s")
        if progress.first_ms is not None:
            parts.append(f"first {progress.first_ms:,.0f} ms")
    bar = f"[cyan]{'━' * full}[/][dim]{'━' * (_BAR - full)}[/]"
    return f"[bold]{load:<6}[/] {bar} {progress.phase:<9} {', '.join(parts)}"
