"""What our own programs ask of the modal client that it offers under other names by version."""

from __future__ import annotations

import modal

__all__ = ["let_go", "use_by_default"]


def use_by_default(client: modal.Client | None) -> None:
    """Make this the client that Modal's objects use when none is named; None forgets it."""
    # There is no public way to replace a client that exists; before 1.6 it had no underscore.
    older = "set_env_client"
    replace = getattr(modal.Client, older, None) or modal.Client._set_env_client  # noqa: SLF001 - see above
    replace(client)


def let_go(client: modal.Client) -> None:
    """Close a client; `Client.close` came with modal 1.6."""
    client.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # modal gives it no types
