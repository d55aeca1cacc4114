"""The pytest plugin: a local Modal for a whole test session, its apps for one test.

Loading it costs next to nothing, since pytest loads it in every project of an environment: modal
and the local Modal are imported by the first test that asks for the fixture.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .local_modal import LocalModalFixture
    from .process import PlaneProcess

__all__ = ["local_modal", "local_modal_plane", "pytest_addoption"]

_NAMESPACES = "local_modal_namespaces"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the plugin's settings."""
    parser.addini(
        _NAMESPACES,
        "Give containers of the `local_modal` fixture namespaces of their own (default: true).",
        type="bool",
        default=True,
    )


@pytest.fixture(scope="session")
def local_modal_plane(request: pytest.FixtureRequest) -> Iterator[PlaneProcess]:
    """A local Modal for the whole session: the one around pytest, or one in a temporary folder."""
    from .process import PlaneProcess, surrounding  # noqa: PLC0415 - only tests that want it pay

    around = surrounding()
    if around is not None:
        yield around
        return
    namespaces = bool(request.config.getini(_NAMESPACES))
    with tempfile.TemporaryDirectory(prefix="local-modal-") as folder:
        plane = PlaneProcess.start(Path(folder), namespaces=namespaces)
        try:
            yield plane
        finally:
            plane.stop()


@pytest.fixture
def local_modal(local_modal_plane: PlaneProcess) -> Iterator[LocalModalFixture]:
    """A local Modal; the apps that a test runs or deploys end with the test."""
    from .local_modal import LocalModalFixture  # noqa: PLC0415 - see above

    with local_modal_plane.as_environment():
        modal = LocalModalFixture(local_modal_plane.exports, local_modal_plane.dashboard)
        try:
            yield modal
        finally:
            modal.close()
