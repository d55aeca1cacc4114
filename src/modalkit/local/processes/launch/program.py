"""A Python module loaded ahead, to be run in a forked process as ``python -m`` would run it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .spec import ContainerSpec

__all__ = ["Program"]

# What Python, the C library, OpenSSL and Modal read once, when they start or are imported.
_READ_ONCE = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OPENSSL_", "GRPC_", "PROTO")
_READ_ONCE_BY_MODAL = (
    "MODAL_LOG",
    "MODAL_CONFIG_PATH",
    "MODAL_PROFILE",
    "MODAL_ASYNC",
    "MODAL_TRACE",
)
_OWN = "modalkit_launch"


class Program:
    """A module that is ready to run.

    Importing it loads what it needs; it runs later, in a fork, as ``__main__``.

    Attributes:
        code: What is run.
        variables: The namespace it runs in.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._base = _path_without_environment()
        importlib.import_module(module)
        parent, _, name = module.rpartition(".")
        delattr(sys.modules[parent], name)
        del sys.modules[module]
        spec = importlib.util.find_spec(module)
        if spec is None or spec.loader is None or spec.origin is None:
            msg = f"No module {module!r} to run."
            raise ImportError(msg)
        self._main = ModuleType("__main__")
        code: CodeType = spec.loader.get_code(module)  # type: ignore[attr-defined]  # a file's loader has it
        self.code = code
        self.variables = vars(self._main)
        self.variables |= {
            "__spec__": spec,
            "__loader__": spec.loader,
            "__file__": spec.origin,
            "__cached__": spec.cached,
            "__package__": parent,
            "__builtins__": sys.modules["builtins"],
        }
        self._names = {name.partition(".")[0] for name in sys.modules}
        self._names |= {"sitecustomize", "usercustomize"}
        self._names -= {_OWN, "__main__", *sys.builtin_module_names}
        self._environment = _read_once(dict(os.environ))
        self._files = self._look()

    def fits(self, spec: ContainerSpec) -> bool:
        """Return whether running it here comes to the same as starting the spec's command.

        To be asked in the container's world: the files are compared with those that were loaded.
        """
        return (
            spec["argv"] == [sys.executable, "-m", self._module]
            and _read_once(spec["env"]) == self._environment
            and not self._is_shadowed(_environment_path(spec))
            and self._look() == self._files
        )

    def settle(self, spec: ContainerSpec) -> None:
        """Make this process what a fresh interpreter would be, a step before the module runs."""
        os.environ.clear()
        os.environ.update(spec["env"])
        time.tzset()
        sys.path[:] = [*_environment_path(spec), *self._base]
        sys.path_importer_cache.clear()
        sys.argv[:] = [str(self.variables["__file__"])]
        sys.orig_argv[:] = spec["argv"]
        sys.modules["__main__"] = self._main
        for name in [name for name in sys.modules if name.partition(".")[0] == _OWN]:
            del sys.modules[name]

    def _is_shadowed(self, path: list[str]) -> bool:
        """Return whether a container has a module of its own where one was loaded already."""
        return any(
            _is_module(f"{folder}/{name}")
            for folder in path
            for name in _names_in(folder)
            if name.partition(".")[0] in self._names
        )

    def _look(self) -> dict[str, tuple[int, int]]:
        """Describe the files that were loaded, and those that decide what else is found."""
        loaded = [
            module
            for name, module in sys.modules.items()
            if name.partition(".")[0] not in {_OWN, "__main__"}
        ]
        files = {file for module in loaded if (file := getattr(module, "__file__", None))}
        files |= {
            f"{folder}/{name}"
            for folder in self._base
            for name in _names_in(folder)
            if name.endswith(".pth")
        }
        return {file: _signature(file) for file in files}


def _signature(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - hundreds of them, on the way of every cold start
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size


def _is_module(path: str) -> bool:
    """Return whether a file or folder is one: a folder without ``__init__`` shadows nothing."""
    return Path(path).is_file() or Path(path, "__init__.py").is_file()


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names alone are wanted
    except OSError:
        return []


def _read_once(environment: dict[str, str]) -> dict[str, str]:
    """Return the variables whose values a running process cannot take up any more."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith((*_READ_ONCE, *_READ_ONCE_BY_MODAL)) and name != "PYTHONPATH"
    }


def _environment_path(spec: ContainerSpec) -> list[str]:
    """Return what ``python -m`` puts in front of an interpreter's own search path."""
    path = spec["env"].get("PYTHONPATH", "")
    return [spec["cwd"], *(part for part in path.split(os.pathsep) if part)]


def _path_without_environment() -> list[str]:
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [folder for folder in sys.path if folder not in own]
