"""One calm line that says how far the training is."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

WIDTH = 30
LINES_WITHOUT_A_TERMINAL = 5


class Progress:
    """A bar on a terminal, a few plain lines anywhere else; always on standard error."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._started = time.monotonic()
        self._on_terminal = sys.stderr.isatty()

    def show(self, done: int, loss: float) -> None:
        """Draw the state after `done` steps; cheap enough to call after each one."""
        if self._on_terminal:
            sys.stderr.write(
                f"\r\x1b[2K{self._label}  {self._bar(done)}  {self._words(done, loss)}"
            )
            sys.stderr.write("\n" if done == self._total else "")
            sys.stderr.flush()
        elif done * LINES_WITHOUT_A_TERMINAL % self._total < LINES_WITHOUT_A_TERMINAL:
            print(f"{self._label}: {self._words(done, loss)}", file=sys.stderr, flush=True)

    def _bar(self, done: int) -> str:
        full = WIDTH * done // self._total
        return "\u2501" * full + "\u2500" * (WIDTH - full)

    def _words(self, done: int, loss: float) -> str:
        left_s = (time.monotonic() - self._started) / done * (self._total - done)
        return f"{100 * done // self._total:3d}%  loss {loss:.2f}  {left_s:.0f} s left"
