"""Terminals for commands: the plane holds the one end, the command sits at the other."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from dataclasses import dataclass

from ..protocol import api

__all__ = ["END_OF_INPUT", "Terminal"]

END_OF_INPUT = b"\x04"
"""What Ctrl-D sends: a terminal's input ends by a character, not by being closed."""

_SIZE = struct.Struct("HHHH")  # rows, columns, and pixels that nobody uses: tty_ioctl(4)


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a client's terminal is like.

    Attributes:
        rows, columns: Its size in characters; 0 where the client has none.
        variables: What programs ask about it: ``TERM`` and the like.
    """

    rows: int
    columns: int
    variables: dict[str, str]

    @classmethod
    def of(cls, info: api.PTYInfo) -> Terminal:
        """Return what Modal's client says of its own terminal."""
        told = {
            "TERM": info.env_term or "xterm-256color",
            "COLORTERM": info.env_colorterm,
            "TERM_PROGRAM": info.env_term_program,
        }
        variables = {name: value for name, value in told.items() if value}
        return cls(info.winsz_rows, info.winsz_cols, variables)

    def open(self) -> tuple[int, int]:
        """Return the descriptors of a new terminal: the plane's end, and the command's."""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, _SIZE.pack(self.rows, self.columns, 0, 0))
        return ours, theirs
