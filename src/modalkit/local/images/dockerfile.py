"""Dockerfile lines, read as Docker reads them: joined, without comments, with variables filled in."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Instruction", "assignments", "filled_in", "read_instructions", "words"]

_HERE_DOCUMENT = re.compile(r"<<-?['\"]?([A-Za-z_]\w*)['\"]?")
_ONLY_DOCUMENT = re.compile(r"<<-?['\"]?([A-Za-z_]\w*)['\"]?\n(.*)\n\1\Z", re.DOTALL)
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}|\$\{(\w+):-([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        name: In capitals, such as ``RUN``.
        flags: Its leading ``--name=value`` words.
        rest: Everything after that, as written.
    """

    name: str
    flags: tuple[str, ...]
    rest: str


def read_instructions(lines: Iterable[str]) -> list[Instruction]:
    """Read the lines of a Dockerfile; empty lines and comments are left out."""
    kept = (line for line in "\n".join(lines).splitlines() if not line.lstrip().startswith("#"))
    text = re.sub(r"\\[ \t]*\n", " ", "\n".join(kept))
    return [_instruction(line.strip()) for line in _whole(text.splitlines()) if line.strip()]


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Join the lines of a quoted text and of a here-document to the one they begin on."""
    rest = iter(lines)
    for line in rest:
        whole = line
        while _is_open(whole) and (following := next(rest, None)) is not None:
            whole += f"\n{following}"
        yield whole


def _is_open(text: str) -> bool:
    """Return whether an instruction goes on in the next line."""
    if not text.lstrip().upper().startswith("RUN "):
        return False
    if document := _HERE_DOCUMENT.search(text):
        return document[1] not in text.splitlines()[1:]
    try:
        shlex.split(text)
    except ValueError:
        return True
    return False


def _instruction(line: str) -> Instruction:
    name, _, rest = line.partition(" ")
    flags: list[str] = []
    rest = rest.strip()
    if found := _ONLY_DOCUMENT.match(rest):
        rest = found[2]
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        flags.append(flag)
        rest = rest.lstrip()
    return Instruction(name.upper(), tuple(flags), rest)


def words(rest: str) -> list[str]:
    """Split an instruction's arguments, in the JSON form or the plain one."""
    if rest.startswith("["):
        try:
            listed = json.loads(rest)
        except ValueError:
            return shlex.split(rest)
        return [str(word) for word in listed]
    return shlex.split(rest)


def filled_in(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$NAME``, ``${NAME}`` and ``${NAME:-default}``; an unknown variable stays as it is."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2] or found[3]
        return variables.get(name, found[0] if found[4] is None else found[4])

    return _VARIABLE.sub(value, text)


def assignments(rest: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Read the arguments of ENV or ARG; each value may use the variables that were set before."""
    parts = shlex.split(rest)
    if parts and "=" not in parts[0]:  # the old form: ENV NAME the whole rest
        parts = [f"{parts[0]}={' '.join(parts[1:])}"]
    return {
        name: filled_in(value, variables)
        for name, _, value in (part.partition("=") for part in parts)
    }
