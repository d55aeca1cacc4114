"""Tested sets in an image: versions that belong together, and what later steps must not change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from ...errors import DeclarationError
from ..pins import contradict
from .installs import FileInstall, PackageInstall
from .layers import Layer

if TYPE_CHECKING:
    import modal

__all__ = ["TestedSet", "check_files_against_sets", "check_sets"]


class TestedSet(Layer):
    """Versions that belong together; it installs nothing and holds later steps to them.

    Attributes:
        by: Whose they are and when they were tested, for messages.
        requirements: What each package must be.
    """

    kind: Literal["tested"] = "tested"
    by: str
    requirements: tuple[str, ...]

    def add_to(self, image: modal.Image) -> modal.Image:
        """Return the image as it is."""
        return image

    def problems(self, where: str, added: Iterable[str]) -> Iterator[str]:
        """Yield each requirement that contradicts the set, what it contradicts, and what to do."""
        for text in added:
            held = next((one for one in self.requirements if contradict(one, text)), None)
            if held is not None:
                yield (
                    f"{where} {text!r} contradicts {held!r} of {self.by}. Leave it out, or start "
                    "from an image of your own, such as ImageSpec.registry(...), to try another set."
                )


def check_sets(known: Iterable[Layer], added: Layer) -> None:
    """Refuse an install that contradicts a tested set below it.

    Raises:
        DeclarationError: Each requirement that does, and what it contradicts.
    """
    if isinstance(added, PackageInstall):
        _refuse(
            problem
            for layer in known
            if isinstance(layer, TestedSet)
            for problem in layer.problems(added.place, added.requirements)
        )


def check_files_against_sets(layers: Sequence[Layer]) -> None:
    """Refuse files of this machine that install what contradicts a tested set below them.

    Raises:
        DeclarationError: File, line and requirement of each that does; a file that cannot be read.
    """
    _refuse(
        problem
        for number, layer in enumerate(layers)
        if isinstance(layer, FileInstall)
        for tested in layers[:number]
        if isinstance(tested, TestedSet)
        for one in layer.installed()
        for problem in tested.problems(one.place, [one.text])
    )


def _refuse(problems: Iterable[str]) -> None:
    if msg := "\n".join(problems):
        raise DeclarationError(msg)
