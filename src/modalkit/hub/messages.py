"""What a person can do when the model hub says no; the token is in none of it."""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = ["down", "gated", "incomplete", "no_revision", "not_found", "refused"]

_LATER = "Run this again later; with HF_HUB_OFFLINE=1 what is cached on this machine is used."
_AUTHORISED = (401, 403)
_TOO_MANY = 429
_SHOWN = 4  # files in a message
_CONTAINER = "MODAL_TASK_ID"  # Modal's containers have it


def gated(model: str) -> str:
    """Say how a gated model is opened."""
    token = "" if _has_token() else " and set HF_TOKEN to a token of an account that has"
    return (
        f"{model!r} is gated. Accept its terms on its page on the hub{token}, then run this again."
        + ("" if _has_token() else _by_secret())
    )


def no_revision(model: str, revision: str | None) -> str:
    """Say that a branch, tag or commit is not there."""
    return f"{model!r} has no revision {revision!r} on the hub. Write a branch, a tag or a commit of it."


def not_found(model: str) -> str:
    """Say that a model is not there, or not for everybody."""
    if _has_token():
        return f"The hub has no model {model!r} that the account of HF_TOKEN may see. Check the id, or ask its owner."
    return (
        f"The hub has no public model {model!r}. Check the id; if it is private, set HF_TOKEN to a token that may "
        f"read it.{_by_secret()}"
    )


def incomplete(model: str, commit: str, missing: Sequence[str], *, offline: bool) -> str:
    """Say which weight files are not there, and what to do so that all are.

    Args:
        model: Hub id.
        commit: The commit in question.
        missing: Files that the index names; empty where not even the index is there.
        offline: Whether the cache of this machine was asked.
    """
    where = f"{model!r} at {commit[:12]}"
    named = ", ".join(missing[:_SHOWN]) + (
        f" and {len(missing) - _SHOWN} more" if missing[_SHOWN:] else ""
    )
    if offline:
        lacks = (
            f"lacks {len(missing)} of its weight files ({named})"
            if missing
            else "has no weight files"
        )
        return (
            f"{where}: the cache of this machine {lacks}, and HF_HUB_OFFLINE is set. Unset it to ask the hub, or "
            f"fetch them first: hf download {model} --revision {commit}"
        )
    return (
        f"{where}: the index names weight files that the repository does not have ({named}). Pin another commit with "
        "revision=, or tell its owner; engines cannot load it."
    )


def refused(model: str, status: int, retry_after: str = "", later: str = _LATER) -> str:
    """Say what an answer with another status means.

    Args:
        model: Hub id.
        status: The HTTP status.
        retry_after: The answer's header of that name.
        later: What to do where waiting helps.
    """
    if status == _TOO_MANY:
        wait = f"in {retry_after} s" if retry_after.isdigit() else "in a few minutes"
        token = "" if _has_token() else ", or set HF_TOKEN: accounts may ask more often"
        secret = _by_secret() if token else ""
        return f"The hub answered 429, too many requests. Run this again {wait}{token}.{secret}"
    if status in _AUTHORISED:
        return (
            f"The hub answered {status} for {model!r}: HF_TOKEN is not valid or may not read it. Make another token on "
            f"the hub.{_by_secret()}"
        )
    return f"The hub answered {status} for {model!r}. {later}"


def down(error: Exception, later: str = _LATER) -> str:
    """Say that the hub cannot be reached."""
    where = os.environ.get("HF_ENDPOINT", "the model hub")
    return f"{where} cannot be reached ({type(error).__name__}). Check the network and HF_ENDPOINT. {later}"


def _by_secret() -> str:
    """Say how a token gets to where it is asked for; a variable of one's own machine stays there."""
    if _CONTAINER not in os.environ:
        return ""
    return (
        " A container has it from a Secret: modal secret create huggingface HF_TOKEN=..., and in the service "
        "secrets = [Secret('huggingface', keys=['HF_TOKEN'])]."
    )


def _has_token() -> bool:
    return bool(os.environ.get("HF_TOKEN"))
