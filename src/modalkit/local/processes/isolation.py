"""Decide what a container can see: the spec that `launch/` carries out.

With namespaces (Linux, as root or through a user namespace) a container has its own root folder,
processes and, if it serves a port, network. Its root shows this machine's files; what it writes
outside its volumes stays in the container. Without them (macOS, locked-down CI) a container is an
ordinary process: code is found through PYTHONPATH, and absolute paths are links made on this machine
while the container runs, where they do not exist already.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .launch import Bind, ContainerSpec

__all__ = ["INSIDE", "MASKS", "Isolation", "Links", "launcher_command"]

_LOG = logging.getLogger("modalkit.local")
MASKS = ("/root", "/tmp")  # noqa: S108 - the container's own, not this machine's
_CODE = frozenset({"/root", "/pkg"})
_PROBE_TIMEOUT_S = 10

SHOWN = "MODALKIT_LOCAL_SHOW"
"""The variable with folders below the masks that containers see all the same, copy-on-write."""

_PROGRAMS = Path(__file__).with_name("inside")
_TOOLS = "/__modal/inside"  # where a container with namespaces finds those

INSIDE = "/__modal/task"
"""Where a container with namespaces finds its socket and arguments."""


def launcher_command(spec: Path, *words: str) -> list[str]:
    """Return the command that makes a container around itself and ends with its status."""
    launcher = Path(__file__).with_name("launch") / "__main__.py"
    return [sys.executable, "-I", "-S", str(launcher), str(spec), *words]


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this machine allows.

    Attributes:
        namespaces: Whether containers get a root folder and processes of their own.
        shown: Folders of the plane's that every container sees at their own paths, as they change.
    """

    namespaces: bool
    shown: tuple[Path, ...] = ()

    @classmethod
    def probe(cls, folder: Path) -> Isolation:
        """Try namespaces once, with a container that does nothing."""
        if sys.platform != "linux":
            return cls(namespaces=False)
        for name in ("layer", "scratch"):
            (folder / name).mkdir(parents=True)
        trial = cls(namespaces=True)
        python = [sys.executable, "-I", "-S", "-c", "pass"]
        spec = trial.spec(folder, folder / "layer", python, {}, binds=[], own_network=True)
        spec["cwd"] = "/"
        (folder / "spec.json").write_text(json.dumps(spec))
        try:
            done = subprocess.run(
                launcher_command(folder / "spec.json"),
                capture_output=True,
                timeout=_PROBE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            _LOG.debug("No namespaces: %s", error)
            return cls(namespaces=False)
        _LOG.debug("Namespaces: exit %d %s", done.returncode, done.stderr.decode(errors="replace"))
        return cls(namespaces=done.returncode == 0)

    def tool(self, name: str) -> list[str]:
        """Return the start of a command line that runs a program of `inside/` in a container."""
        folder = Path(_TOOLS) if self.namespaces else _PROGRAMS
        return [sys.executable, "-I", "-S", str(folder / name)]

    def spec(
        self,
        folder: Path,
        layer: Path,
        argv: list[str],
        env: dict[str, str],
        *,
        binds: Iterable[Bind],
        own_network: bool,
        lowers: Iterable[Path] = (),
        changes: Path | None = None,
        keep: Iterable[Path] = (),
    ) -> ContainerSpec:
        """Describe a container with its own ``folder`` on this machine and a ``layer`` of files.

        ``lowers`` are the image's layers, the last one on top; ``changes`` keeps what the container
        writes, to become one; ``keep`` are folders it must see at their own paths.
        """
        return ContainerSpec(
            namespaces=self.namespaces,
            own_network=own_network and self.namespaces,
            layer=str(layer),
            lowers=[str(lower) for lower in lowers],
            changes=str(changes) if changes else "",
            scratch=str(folder / "scratch"),
            masks=list(MASKS),
            keep=_python_below(MASKS, keep),
            binds=[*self._always(), *binds],
            cgroups=[],
            argv=argv,
            visitor=self.tool("attendant.py"),
            env=env,
            cwd="/root" if self.namespaces else str(layer / "root"),
            listen_ports=[],
        )

    def _always(self) -> list[Bind]:
        if not self.namespaces:
            return []
        places = {str(_PROGRAMS): _TOOLS, **{str(folder): str(folder) for folder in self.shown}}
        return [Bind(source=a, target=b, read_only=True) for a, b in places.items()]


def _python_below(masks: tuple[str, ...], keep: Iterable[Path]) -> list[str]:
    """Return what Python itself needs from folders that containers have their own version of.

    And what the user shows them beside: the folders named in `SHOWN`.
    """
    wanted = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path[1:], *map(str, keep)}
    wanted |= set(os.environ.get(SHOWN, "").split(os.pathsep))
    if site.ENABLE_USER_SITE:
        wanted.add(site.getusersitepackages())
    below = sorted(
        path
        for path in wanted
        if Path(path).is_dir() and any(path.startswith(mask + "/") for mask in masks)
    )
    outermost: list[str] = []
    for path in below:
        if not outermost or not path.startswith(outermost[-1] + "/"):
            outermost.append(path)
    return outermost


class Links:
    """Without namespaces: links on this machine that stand for a container's absolute paths.

    Args:
        folder: Holds copies of layers.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[Path, int] = {}
        self._folders: list[Path] = []

    def plain_layer(self, layer: Path) -> Path:
        """Return a copy of a layer that containers may write to without harm to the original."""
        copy = self._folder / layer.name
        if not copy.exists():
            shutil.copytree(layer, copy)
        return copy

    def layer_targets(self, layer: Path, path: str = "") -> Iterator[tuple[str, str]]:
        """Yield what of a layer this machine lacks, as ``(path, source)``; code is not linked."""
        for entry in os.scandir(f"{layer}{path}"):
            target = f"{path}/{entry.name}"
            if target in _CODE:
                continue
            if Path(target) in self._made or not os.path.lexists(target):
                yield target, entry.path
            elif entry.is_dir() and Path(target).is_dir():
                yield from self.layer_targets(layer, target)

    def make(self, targets: Iterable[tuple[str, str]]) -> list[Path]:
        """Link each ``(path, source)``; a path that cannot be made is left out and logged."""
        made: list[Path] = []
        for path, source in targets:
            link = Path(path)
            try:
                if link not in self._made:
                    self._make_folders(link.parent)
                    link.symlink_to(source)
            except OSError as error:
                _LOG.warning(
                    "%s cannot be shown to the container without namespaces: %s", path, error
                )
                continue
            self._made[link] = self._made.get(link, 0) + 1
            made.append(link)
        return made

    def drop(self, links: Iterable[Path]) -> None:
        """Remove links that no container uses any more."""
        for link in links:
            self._made[link] -= 1
            if not self._made[link]:
                del self._made[link]
                link.unlink(missing_ok=True)
        if not self._made:
            for folder in reversed(self._folders):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            self._folders.clear()

    def _make_folders(self, folder: Path) -> None:
        missing = [path for path in [*reversed(folder.parents), folder] if not path.exists()]
        for path in missing:
            path.mkdir()
            self._folders.append(path)
