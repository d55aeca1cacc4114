"""The options that commands of ``modalkit local`` share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from ...local import Settings, default_state_folder

__all__ = ["Options", "plane_options", "with_options", "with_state"]

# Read where nothing is named, and not by click: a subcommand's own option would take the variable for
# something said after the folder that stands before it.
_STATE_VARIABLE = "MODALKIT_LOCAL_STATE"

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Options:
    """What stands between ``modalkit local`` and its command.

    Attributes:
        state: The state folder, absolute.
        stay_s: How long deployed endpoints answer after the command; None is until Ctrl-C.
    """

    state: Path
    settings: Settings = Settings()  # noqa: RUF009 - frozen
    stay_s: float | None = None
    quiet: bool = False
    verbose: bool = False


_STATE = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for volumes, secrets and what is deployed "
    "[default: $MODALKIT_LOCAL_STATE, else the user's data folder].",
)
_PLANE = (
    _STATE,
    click.option(
        "--no-namespaces",
        is_flag=True,
        help="Run containers as plain processes, as on systems without Linux namespaces.",
    ),
    click.option(
        "--strict-gpu", is_flag=True, help="Refuse a GPU that this machine does not have."
    ),
    click.option(
        "--strict-images",
        is_flag=True,
        help="Refuse an image with steps that need a container engine.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing about the local Modal itself."),
    click.option("-v", "--verbose", is_flag=True, help="Log what the local Modal does."),
)


def plane_options(function: Callable[Concatenate[Options, _P], _R]) -> Callable[..., _R]:
    """Give a command the options of a plane; it gets them as one `Options`.

    Those that stand before a subcommand hold for it too.
    """

    @wraps(function)
    def read(  # noqa: PLR0917 - click passes them by name
        state: Path | None,
        no_namespaces: bool,
        strict_gpu: bool,
        strict_images: bool,
        quiet: bool,
        verbose: bool,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        outer = _outer()
        before = outer.settings
        options = replace(
            outer,
            state=_place(state, outer),
            settings=Settings(
                namespaces=before.namespaces and not no_namespaces,
                strict_gpu=before.strict_gpu or strict_gpu,
                strict_images=before.strict_images or strict_images,
            ),
            quiet=outer.quiet or quiet,
            verbose=outer.verbose or verbose,
        )
        return function(options, *args, **kwargs)

    wrapped: Callable[..., _R] = read
    for option in reversed(_PLANE):
        wrapped = option(wrapped)
    return wrapped


def with_options(function: Callable[Concatenate[Options, _P], _R]) -> Callable[..., _R]:
    """Give a command the options that stand before it."""

    @wraps(function)
    def read(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return function(_outer(), *args, **kwargs)

    return read


def with_state(function: Callable[Concatenate[Path, _P], _R]) -> Callable[..., _R]:
    """Give a command the option ``--state``, and the state folder it means."""

    @wraps(function)
    def read(state: Path | None, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return function(_place(state, _outer()), *args, **kwargs)

    return _STATE(read)


def _outer() -> Options:
    """Return what stands before the command; what nobody named is the variable's, then the user's."""
    found = click.get_current_context().find_object(Options)
    named = os.environ.get(_STATE_VARIABLE)
    return found or Options(state=_absolute(named) if named else default_state_folder())


def _place(state: Path | None, outer: Options) -> Path:
    """Return the folder that was named last."""
    return _absolute(state) if state is not None else outer.state


def _absolute(folder: Path | str) -> Path:
    return Path(folder).expanduser().absolute()
