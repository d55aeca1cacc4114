"""``python -m modalkit.runtime.keyed``: run a server module with keys that nobody sees.

    python -m modalkit.runtime.keyed --door=PACKAGE.MODULE:APP \
        --key-flag=--api-key --admin-key-flag=--admin-api-key MODULE ARGS...
    python -m modalkit.runtime.keyed --admin-key-variable=VARIABLE \
        --admin-key-flag=--admin-api-key MODULE ARGS...

For servers that know no middleware flag and take their keys on the command line only. Every process
of a machine can read the command lines of the others: here flags and keys join ``sys.argv`` inside
the process, where the module's parser finds them and ``ps`` does not. Helper processes that the
module spawns are given ``sys.argv`` through a pipe, as always.

With ``--door`` requests reach the server directly. The keys are then those of `DoorSettings`, made for
one start; clients never have them. If the door did not come to stand in front, the server would
therefore be shut, not open. Without, the door stands elsewhere: what it lets in needs no key, and
only the server's administration asks for the one in the variable.
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
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TextIO

from ..errors import EngineError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .door.settings import DoorSettings

__all__ = ["main"]

_HIDDEN = "***"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the module with its keys; the exit status where this process was given none."""
    options = _parser().parse_args(arguments)
    try:
        keys = _behind_the_door(options) if options.door else _of_administration(options)
    except EngineError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    hidden = tuple(keys.values())
    sys.stdout, sys.stderr = _Masked(sys.stdout, hidden), _Masked(sys.stderr, hidden)
    added = [word for pair in keys.items() for word in pair]
    sys.argv = [options.module, *options.arguments, *added]
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)
    return 0


def _behind_the_door(options: argparse.Namespace) -> Mapping[str, str]:
    """Let the door come before the module's app; both keys, by flag."""
    from .door.settings import DOOR_VARIABLE, DoorSettings  # noqa: PLC0415 - a web framework

    told = DoorSettings.of_this_process()
    del os.environ[DOOR_VARIABLE]  # the module's helpers have no use for it
    module, _, attribute = options.door.partition(":")
    sys.meta_path.insert(0, _AfterImport(module, attribute, told))
    return {options.key_flag: told.engine_key, options.admin_key_flag: told.admin_key}


def _of_administration(options: argparse.Namespace) -> Mapping[str, str]:
    """The administration's key alone, by flag.

    Raises:
        EngineError: The variable that should hold it does not.
    """
    key = os.environ.pop(options.admin_key_variable or "", None)
    if not key:
        msg = (
            f"The variable {options.admin_key_variable!r} holds no key, so whoever reaches this server "
            "could order it about. It is set for engines that modalkit starts; start this one from a "
            "service."
        )
        raise EngineError(msg)
    return {options.admin_key_flag: key}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m modalkit.runtime.keyed",
        description="Run a server module, without showing its keys.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--door", metavar="MODULE:APP", help="where its Starlette app is, for the door before it"
    )
    parser.add_argument("--key-flag", metavar="FLAG", help="its flag for the key of every route")
    parser.add_argument(
        "--admin-key-flag", required=True, metavar="FLAG", help="its flag for the administration's"
    )
    parser.add_argument(
        "--admin-key-variable", metavar="NAME", help="where that key is, if no door has one"
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
        from .door.engine import EngineDoor  # noqa: PLC0415 - brings what watches the service

        app: _Application = getattr(module, self._attribute)
        inside, told = app.build_middleware_stack, self._told

        def with_door() -> ASGIApp:
            return EngineDoor(inside(), told)

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
