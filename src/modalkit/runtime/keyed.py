"""``python -m modalkit.runtime.keyed``: run a server module behind the door, its keys unseen.

    python -m modalkit.runtime.keyed --door=PACKAGE.MODULE:APP \
        --key-flag=--api-key --admin-key-flag=--admin-api-key MODULE ARGS...

For servers that know no middleware flag and take their keys on the command line only. Every process
of a machine can read the command lines of the others: here flags and keys join ``sys.argv`` inside
the process, where the module's parser finds them and ``ps`` does not. Helper processes that the
module spawns are given ``sys.argv`` through a pipe, as always.

The keys are those of `DoorSettings`, made for one start; clients never have them. If the door did
not come to stand in front, the server would therefore be shut, not open.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import runpy
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Protocol, TextIO

from starlette.types import ASGIApp

from ..errors import EngineError
from .door.guarded import guarded
from .door.settings import DOOR_VARIABLE, DoorSettings

__all__ = ["main"]

_HIDDEN = "***"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the module behind the door; the exit status where this process was told of none."""
    options = _parser().parse_args(arguments)
    try:
        told = DoorSettings.of_this_process()
    except EngineError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    del os.environ[DOOR_VARIABLE]  # the module's helpers have no use for it
    module, _, attribute = options.door.partition(":")
    sys.meta_path.insert(0, _AfterImport(module, attribute, told))
    hidden = (told.engine_key, told.admin_key)
    sys.stdout, sys.stderr = _Masked(sys.stdout, hidden), _Masked(sys.stderr, hidden)
    added = [options.key_flag, told.engine_key, options.admin_key_flag, told.admin_key]
    sys.argv = [options.module, *options.arguments, *added]
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m modalkit.runtime.keyed",
        description="Run a server module behind modalkit's door, without showing its keys.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--door", required=True, metavar="MODULE:APP", help="where its Starlette app is"
    )
    parser.add_argument(
        "--key-flag", required=True, metavar="FLAG", help="its flag for the key of every route"
    )
    parser.add_argument(
        "--admin-key-flag", required=True, metavar="FLAG", help="its flag for the administration's"
    )
    parser.add_argument("module", help="what `python -m` would run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the module's own flags")
    return parser


class _Application(Protocol):
    """What Starlette's and FastAPI's applications build when their first request comes."""

    def build_middleware_stack(self) -> ASGIApp: ...


class _AfterImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Puts the door in front of a module's app as soon as the module has been imported.

    Importing it earlier would change the order in which the server sets itself up.
    """

    def __init__(self, module: str, attribute: str, told: DoorSettings) -> None:
        self._module = module
        self._attribute = attribute
        self._told = told
        self._loader: importlib.abc.Loader | None = None

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - Python's protocol
        target: ModuleType | None = None,  # noqa: ARG002 - likewise
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the module as always, with a loader that goes on to place the door."""
        if fullname != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Make the module as always."""
        assert self._loader is not None  # noqa: S101 - set before the spec is given out
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then put the door outside of every middleware the app will have."""
        assert self._loader is not None  # noqa: S101 - as above
        self._loader.exec_module(module)
        app: _Application = getattr(module, self._attribute)
        inside, told = app.build_middleware_stack, self._told

        def with_door() -> ASGIApp:
            return guarded(inside(), told.endpoint, told.routes, keys=told.keys, inner=told.inner)

        app.build_middleware_stack = with_door  # type: ignore[method-assign]  # of one instance, on purpose


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
