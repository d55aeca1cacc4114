"""The hub's own client, and what its errors mean to a person.

Asked through ``huggingface_hub``, so that ``HF_ENDPOINT``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` mean what
they mean everywhere. The token comes from ``HF_TOKEN`` in the environment alone, and is in no message.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import HubError, MissingExtraError
from .messages import down, gated, no_revision, not_found, refused

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["TIMEOUT_S", "explained", "hub_api", "is_offline"]

TIMEOUT_S = 30.0


def hub_api() -> HfApi:
    """Return the hub's client; the token comes from the environment alone.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    is_offline()
    from huggingface_hub import HfApi  # noqa: PLC0415 - an extra brings it
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415

    disable_progress_bars()  # these are small files
    token = os.environ.get("HF_TOKEN") or False
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token, library_name="modalkit")


def is_offline() -> bool:
    """Return whether only the cache of this machine may be asked.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    try:
        from huggingface_hub import constants  # noqa: PLC0415 - an extra brings it
    except ImportError as error:
        feature = "Asking the model hub"
        raise MissingExtraError(feature, "hub") from error
    return constants.is_offline_mode()


@contextmanager
def explained(model: str, revision: str | None) -> Iterator[None]:
    """Turn what the hub's client raises into what a person can do."""
    is_offline()
    from httpx2 import HTTPError  # noqa: PLC0415 - comes with huggingface_hub
    from huggingface_hub import errors  # noqa: PLC0415

    try:
        yield
    except HubError:
        raise
    except errors.GatedRepoError as error:
        raise HubError(gated(model)) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(no_revision(model, revision)) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(not_found(model)) from error
    except errors.HFValidationError as error:
        msg = f"{model!r} is not a hub id. Write one such as 'Qwen/Qwen3-8B'."
        raise HubError(msg) from error
    except errors.HfHubHTTPError as error:
        raise HubError(_refused(model, error)) from error
    except (HTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise HubError(down(error)) from error
    except (errors.SafetensorsParsingError, errors.NotASafetensorsRepoError) as error:
        msg = f"The header of {model!r}'s weights cannot be read: {error}"
        raise HubError(msg) from error


def _refused(model: str, error: OSError) -> str:
    response = getattr(error, "response", None)
    headers = response.headers if response is not None else {}
    return refused(model, getattr(response, "status_code", 0), headers.get("Retry-After", ""))
