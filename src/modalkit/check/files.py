"""Which files a check reads: those that are named, and the Python files of folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import DeclarationError
from .settings import Settings

__all__ = ["Candidate", "find_files"]

# Other people's code, and what tools wrote.
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"}


class Candidate(NamedTuple):
    """A file, and whether it was named itself; one found in a folder must look like Modal's."""

    path: str
    named: bool


def find_files(paths: Sequence[str], settings: Settings) -> list[Candidate]:
    """Return every file to read, sorted, each once.

    Raises:
        DeclarationError: A path that is not there.
    """
    found: dict[str, Candidate] = {}
    for path in paths:
        if Path(path).is_dir():
            for inside in _python_files(path, settings):
                found.setdefault(inside, Candidate(inside, named=False))
        elif Path(path).exists():
            found[path] = Candidate(path, named=True)
        else:
            msg = f"There is no file or folder {path!r}. Name a Python file, or a folder of them."
            raise DeclarationError(msg)
    return sorted(found.values())


def _python_files(folder: str, settings: Settings) -> Iterator[str]:
    for above, folders, names in os.walk(folder):
        here = Path(above)
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED
            and not name.startswith(".")
            and not _is_venv(here / name)
            and not settings.excludes(here / name)
        ]
        for name in names:
            plain = name.endswith(".py") and (here / name).is_file()  # no pipe, no broken link
            if plain and not settings.excludes(here / name):
                yield str(here / name)


def _is_venv(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").exists()
