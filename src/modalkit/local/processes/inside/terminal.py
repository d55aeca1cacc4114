"""Makes standard input the terminal of this session, then becomes the command it is given."""

from __future__ import annotations

import fcntl
import os
import sys
import termios

__all__ = ["become"]

NOT_FOUND, NOT_RUNNABLE = 127, 126  # what a shell says


def become(argv: list[str]) -> None:
    """Run a command in this process's place; it can then be interrupted by Ctrl-C, and has jobs."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - the command of whoever has the sandbox
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        sys.exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUNNABLE)


if __name__ == "__main__":
    become(sys.argv[1:])
