"""Start a container's program: by replacing this process, or in it."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .control import Control
from .tree import fail, grow

if TYPE_CHECKING:
    from .program import Program
    from .spec import ContainerSpec

__all__ = ["main"]


def main(words: list[str]) -> Program:
    """Start what the words of the command line ask for; return only where Python goes on."""
    if words[0] != "zygote":
        control = socket.socket(fileno=int(words[1])) if len(words) > 1 else None
        become(words[0], Control(control), None)
    from .program import Program  # noqa: PLC0415 - a cold start does without
    from .zygote import next_container  # noqa: PLC0415 - the same

    if sys.path[0] == str(Path(__file__).parent):
        del sys.path[0]
    program = Program(words[2])
    path, control = next_container(socket.socket(fileno=int(words[1])))
    become(path, Control(control), program)
    return program


def become(path: str, control: Control, program: Program | None) -> None:
    """Make the container that a spec file describes around this process, then run its command.

    Returns only when the command is the program that this process has loaded already.
    """
    spec: ContainerSpec = json.loads(Path(path).read_bytes())
    grow(spec, control)
    try:
        if program is not None and program.fits(spec):
            program.settle(spec)
            return
        os.execve(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - an argv list, no shell
    except BaseException as error:  # noqa: BLE001 - this process must not go on as anything else
        fail(f"The container could not be started: {error}\n")
