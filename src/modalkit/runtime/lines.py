"""A process's output as lines, the way a terminal would show them."""

from __future__ import annotations

__all__ = ["LineSplitter"]


class LineSplitter:
    r"""Cuts a stream of bytes into lines, whatever pieces it comes in.

    A progress bar writes over its line with carriage returns: what counts is what it shows last.

    Args:
        longest: Bytes after which a line that does not end is cut.

    Examples:
        >>> lines = LineSplitter()
        >>> lines.feed(b"one\ntw"), lines.feed(b"o\r\n 50%\r100%\nrest")
        (['one'], ['two', '100%'])
        >>> lines.showing, lines.rest()
        ('rest', ['rest'])
    """

    def __init__(self, longest: int = 65_536) -> None:
        self._longest = longest
        self._open = b""

    def feed(self, piece: bytes) -> list[str]:
        """Return the lines that a further piece completes, without their ends."""
        *whole, self._open = (self._open + piece).split(b"\n")
        while len(self._open) > self._longest:
            whole.append(self._open[: self._longest])
            self._open = self._open[self._longest :]
        return [_shown(line) for line in whole]

    @property
    def showing(self) -> str:
        """What the line that has not ended shows so far."""
        return _shown(self._open)

    def rest(self) -> list[str]:
        """Return what never got its end, once there is nothing more to come."""
        left, self._open = self.showing, b""
        return [left] if left else []


def _shown(line: bytes) -> str:
    """What is left on a terminal's line: each carriage return starts it over."""
    segments = [part for part in line.split(b"\r") if part]
    return segments[-1].decode("utf-8", "replace") if segments else ""
