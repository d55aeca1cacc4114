"""Every kind of step an image has, and the order in which they are built.

A step is rebuilt when it or anything before it changed, so what changes often belongs last. This
module moves a step later only where the result is provably the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field

from .installs import (
    PipInstall,
    PyprojectFile,
    RequirementsFile,
    UvInstall,
    UvLock,
)
from .layers import Apt, Env, LocalDir, LocalFile, LocalFiles, LocalPython, Run, Workdir
from .tested import TestedSet

__all__ = ["ImageLayer", "in_build_order", "may_move_after"]

ImageLayer = Annotated[
    PipInstall
    | UvInstall
    | TestedSet
    | RequirementsFile
    | PyprojectFile
    | UvLock
    | Apt
    | Env
    | Run
    | Workdir
    | LocalDir
    | LocalFile
    | LocalPython,
    Field(discriminator="kind"),
]

# Where Debian packages may put or read files (Debian policy 9.1, the filesystem hierarchy). A
# package never touches what is outside, such as /app, /data or /root/project.
_PACKAGED = frozenset(
    {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "run"}
    | {"sbin", "srv", "sys", "tmp", "usr", "var"}
)


def may_move_after(step: ImageLayer, other: ImageLayer) -> bool:
    """Whether ``step``, written before ``other``, may be built after it with the same result.

    * Mounted local files (``copy=False``) may move after every build step: Modal attaches them when
      a container starts, so no build step can see them, wherever they were written.
    * Built-in local files (``copy=True``) may move after ``env`` and ``workdir``, which read no
      files, and, when they land where no Debian package has files, after ``apt``. They stay before
      ``run`` and every Python install, which may read them.
    * Everything else stays: a later step may read a variable, a working directory or an installed
      program. Local files keep their order among themselves, since a later one wins.
    """
    if not isinstance(step, LocalFiles):
        return False
    if isinstance(other, LocalFiles):
        return not step.built_in and other.built_in
    if not step.built_in:
        return True
    if isinstance(other, Apt):
        return not _touches_packages(step)
    return isinstance(other, Env | Workdir)


def in_build_order(layers: Sequence[ImageLayer]) -> tuple[ImageLayer, ...]:
    """Return the same steps with local files as late as :func:`may_move_after` lets them be."""
    waiting = list(layers)
    built: list[ImageLayer] = []
    while waiting:
        free = [index for index, step in enumerate(waiting) if _is_free(step, waiting[:index])]
        # min() takes the first of equals, so steps of one kind keep the order written.
        built.append(waiting.pop(min(free, key=lambda index: _lateness(waiting[index]))))
    return tuple(built)


def _is_free(step: ImageLayer, before: Sequence[ImageLayer]) -> bool:
    return all(may_move_after(earlier, step) for earlier in before)


def _lateness(step: ImageLayer) -> int:
    if not isinstance(step, LocalFiles):
        return 0
    return 1 if step.built_in else 2


def _touches_packages(step: LocalFiles) -> bool:
    if not isinstance(step, LocalDir | LocalFile):
        return False  # Python source lands in /root
    first = PurePosixPath(step.target).parts[1:2]
    return not first or first[0] in _PACKAGED
