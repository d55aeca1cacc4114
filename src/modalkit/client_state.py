"""What the modal client keeps of an app before a deploy, in the one place that knows where.

modal 1.6 has public properties for it that warn and end with 1.7, and nothing in their place; ``modal
run`` itself reads ``App._local_state``. A client that keeps it elsewhere is refused by name.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import modal

from .errors import ModalClientError

if TYPE_CHECKING:
    from modal.types import FunctionInfo

__all__ = ["app_entrypoints", "app_functions", "function_info"]


def app_functions(app: modal.App) -> MutableMapping[str, modal.Function[..., object, object]]:
    """Return an app's functions by tag, a class's as ``NAME.*``; the app's own mapping.

    Raises:
        ModalClientError: The installed client keeps them elsewhere.
    """
    found: MutableMapping[str, modal.Function[..., object, object]] = _read(
        app, "_local_state", "functions"
    )
    return found


def app_entrypoints(app: modal.App) -> tuple[str, ...]:
    """Return the names of an app's local entrypoints.

    Raises:
        ModalClientError: The installed client keeps them elsewhere.
    """
    return tuple(_read(app, "_local_state", "local_entrypoints"))


def function_info(function: modal.Function[..., object, object]) -> FunctionInfo | None:
    """Return what the client knows of a function; ``Function.info()`` would ask Modal for the rest.

    Raises:
        ModalClientError: The installed client keeps it elsewhere.
    """
    found: FunctionInfo | None = _read(function, "_function_info")
    return found


def _read(holder: object, *path: str) -> Any:
    found: Any = holder
    for name in path:
        try:
            found = getattr(found, name)
        except AttributeError as error:
            msg = (
                f"modal {version('modal')} keeps {type(holder).__name__}.{'.'.join(path)} elsewhere than "
                "modalkit reads it. Install modal 1.6 (pip install 'modal>=1.6,<1.7'), or a newer modalkit."
            )
            raise ModalClientError(msg) from error
    return found
