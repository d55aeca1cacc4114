"""Test Modal apps against a local Modal: the pytest fixture ``local_modal``.

pytest finds the fixture by itself where modalkit is installed; nothing is started, and modal is not
imported, before a test asks for it. `LocalModalFixture` is the fixture's type, for annotations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .local_modal import LocalModalFixture

__all__ = ["LocalModalFixture"]


def __getattr__(name: str) -> object:
    """Import the fixture's class when it is first named: it loads modal."""
    if name == "LocalModalFixture":
        from .local_modal import LocalModalFixture  # noqa: PLC0415 - see above

        return LocalModalFixture
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
