"""Every service of a user's file, found by running the file as Modal's own CLI does."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from .errors import DeclarationError, ModalkitError
from .service import ModelService

__all__ = [
    "collecting",
    "is_collecting",
    "note_service",
    "run_file",
    "services_of",
    "takes_stale_locks",
    "taking_stale_locks",
]

_found: ContextVar[list[type[ModelService]] | None] = ContextVar("services", default=None)
_stale: ContextVar[bool] = ContextVar("stale_locks", default=False)


def note_service(service: type[ModelService]) -> None:
    """Remember a service that `serve` has seen, if somebody is looking for services."""
    if (found := _found.get()) is not None:
        found.append(service)


def is_collecting() -> bool:
    """Whether files run now only to find their services, so that a missing lock is no error."""
    return _found.get() is not None


def takes_stale_locks() -> bool:
    """Whether files run now to be compared, so that a lock of something else is no error."""
    return _stale.get()


@contextmanager
def taking_stale_locks(taken: bool) -> Iterator[None]:
    """Let a service differ from its lock inside, as it does where the two are compared."""
    token = _stale.set(taken)
    try:
        yield
    finally:
        _stale.reset(token)


@contextmanager
def collecting() -> Iterator[list[type[ModelService]]]:
    """Collect every service that is declared inside."""
    found: list[type[ModelService]] = []
    token = _found.set(found)
    try:
        yield found
    finally:
        _found.reset(token)


def services_of(file: str | Path) -> tuple[type[ModelService], ...]:
    """Run a file and return its services, in the order they are written.

    A service that asks for ``GPUProfile.fit`` is found with or without a lock.

    Raises:
        DeclarationError: There is no such file, or it fails; the message names the line.
        PlanError: A service of it cannot be.
    """
    with collecting() as found:
        run_file(file)
    return tuple(found)


def run_file(file: str | Path) -> ModuleType:
    """Import a file under its own name, with its folder first on the path, as Modal's CLI does.

    Raises:
        DeclarationError: There is no such file, or it fails; the message names the line.
        PlanError: A service of it cannot be.
    """
    path = Path(file).resolve()
    if not path.is_file() or path.suffix != ".py":
        msg = f"There is no Python file {str(file)!r}. Name the file that declares the services."
        raise DeclarationError(msg)
    folder = str(path.parent)
    loader = _Freshly(path.stem, str(path))
    spec = importlib.util.spec_from_file_location(path.stem, path, loader=loader)
    assert spec is not None  # noqa: S101 - a loader was given
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    sys.modules[path.stem] = module
    try:
        loader.exec_module(module)
    except ModalkitError:
        raise
    except Exception as error:
        msg = f"{_place(path, error)} fails: {type(error).__name__}: {error}{_remedy(error)}"
        raise DeclarationError(msg) from error
    finally:
        sys.path.remove(folder)
    return module


def _remedy(error: Exception) -> str:
    """What to do where the file asks Modal for something while it is read, which needs an account."""
    if type(error).__name__ not in {"AuthError", "ConnectionError"}:
        return ""
    if not type(error).__module__.startswith("modal."):
        return ""
    return (
        " The file asks Modal while it is read; that is done without an account. Write "
        "app = modal.App('NAME') there, and what asks Modal into @app.local_entrypoint()."
    )


class _Freshly(SourceFileLoader):
    """Compiles a file each time it runs.

    Python takes compiled code for current while the source keeps its size and the second of its last
    change; a file that is edited between two commands may keep both.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _place(path: Path, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{path.name} line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return f"{path.name} line {lines[-1]}" if lines else path.name
