"""The one place that reads what the modal client keeps to itself."""

from __future__ import annotations

from types import SimpleNamespace

import modal
import pytest

from modalkit.client_state import app_entrypoints, app_functions, function_info
from modalkit.errors import ModalClientError

app = modal.App("inventory")


@app.function(timeout=77, serialized=True)
def work() -> None:
    """A plain function."""


@app.local_entrypoint()
def main() -> None:
    """A plain entrypoint."""


def test_the_installed_client_keeps_it_there():
    """Functions, what is known of them and entrypoints are read off the real client's app."""
    assert list(app_functions(app)) == ["work"]
    info = function_info(app_functions(app)["work"])
    assert info is not None
    assert info.timeout == 77
    assert app_entrypoints(app) == ("main",)


def test_another_client_is_refused_by_name():
    """A client that keeps them elsewhere gives an error that says which one to install."""
    other = SimpleNamespace(_local_state=SimpleNamespace())
    for read in (app_functions, app_entrypoints, function_info):
        with pytest.raises(ModalClientError, match=r"modal 1\..*Install modal 1\.6"):
            read(other)
