"""What a command is pointed at: a file, or one service of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..errors import DeclarationError

__all__ = ["FileTarget"]


class FileTarget(NamedTuple):
    """A file, and what of it is meant.

    Attributes:
        file: The file, as it was written.
        name: One service or function; empty for all of it.
    """

    file: str
    name: str

    @classmethod
    def parse(cls, text: str) -> FileTarget:
        """Read ``FILE`` or ``FILE::NAME``."""
        file, _, name = text.partition("::")
        return cls(file, name)

    def among(self, services: Iterable[str]) -> list[str]:
        """Return the services that are meant of those the file declares.

        Raises:
            DeclarationError: It declares none, or none of that name.
        """
        names = list(services)
        if not names:
            msg = f"{self.file} declares no service. Write @serve(app) above a ModelService."
            raise DeclarationError(msg)
        if self.name and self.name not in names:
            msg = f"{self.file} declares no service {self.name!r}; it has {', '.join(names)}."
            raise DeclarationError(msg)
        return [self.name] if self.name else names
