"""``python -m modalkit.runtime.keyed``: run a module that takes its API key as a flag.

    python -m modalkit.runtime.keyed --key-variable=API_KEY --key-flag=--api-key MODULE ARGS...

Every process of a machine can read the command lines of the others. Here the flag and the key
join ``sys.argv`` inside the process, where the module's parser finds them and ``ps`` does not.
Helper processes that the module spawns are given ``sys.argv`` through a pipe, as always.
"""

from __future__ import annotations

import argparse
import io
import os
import runpy
import secrets
import sys
from collections.abc import Sequence
from typing import TextIO

__all__ = ["main"]

_HIDDEN = "***"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the module with its keys; the exit status where the key is missing."""
    options = _parser().parse_args(arguments)
    # Taken out of the environment: the module's helpers have no use for it.
    keys = os.environ.pop(options.key_variable, "").replace(",", "\n").split()
    if not keys:
        sys.stderr.write(
            f"The environment variable {options.key_variable!r} should hold the API key but is "
            "empty or unset. Add the secret that has it to the service.\n"
        )
        return 2
    flags = {flag: secrets.token_urlsafe(32) for flag in options.random_key_flag}
    flags[options.key_flag] = keys[0]
    hidden = (*keys, *flags.values())
    sys.stdout, sys.stderr = _Masked(sys.stdout, hidden), _Masked(sys.stderr, hidden)
    added = [word for flag, key in flags.items() for word in (flag, key)]
    sys.argv = [options.module, *options.arguments, *added]
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m modalkit.runtime.keyed",
        description="Run a module that takes its API key as a flag, without showing the key.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--key-variable", required=True, metavar="NAME", help="environment variable with the key"
    )
    parser.add_argument(
        "--key-flag", required=True, metavar="FLAG", help="the module's flag for it"
    )
    parser.add_argument(
        "--random-key-flag",
        action="append",
        default=[],
        metavar="FLAG",
        help="a flag that is given a key nobody knows, so that what it guards stays shut",
    )
    parser.add_argument("module", help="what `python -m` would run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the module's own flags")
    return parser


class _Masked(io.TextIOWrapper):
    """Engines log the flags they were started with; their keys are not for the log."""

    def __init__(self, stream: TextIO, hidden: tuple[str, ...]) -> None:
        super().__init__(
            stream.buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True
        )
        self._hidden = hidden

    def write(self, text: str) -> int:
        """Write the text without its keys; the number of characters that were asked for."""
        shown = text
        for key in self._hidden:
            shown = shown.replace(key, _HIDDEN)
        super().write(shown)
        return len(text)


if __name__ == "__main__":
    sys.exit(main())
