"""Flags that do not stand in ``extra_args``: what decides each instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .flags import FlagTable, split_flags

__all__ = ["OWNED_FLAGS", "reserved_flags", "reserved_problems"]

# What modalkit decides itself, by flag; the table adds every other spelling.
OWNED_FLAGS = {
    "--host": "modalkit chooses the address itself. Leave it out.",
    "--port": "modalkit chooses the port itself. Leave it out.",
    "--model": "The service says which model. Write model = 'org/name' in its body.",
    "--revision": "The service says which commit. Write revision = '...' in its body.",
    "--config": "A file would bring flags that nobody checked. Write them here.",
    "--api-key": "A key in a command line can be read by every process. Write api = Endpoint(...) in the service.",
    "--admin-api-key": "A key in a command line can be read by every process. modalkit sets one.",
    "--hf-token": "A token in a command line can be read by every process. Write secrets = [Secret(...)] in the service.",
    "--ssl-keyfile-password": "A password in a command line can be read by every process. Modal ends TLS before the engine.",
    "--root-path": "It would shift the paths that the door compares. Write Endpoint(path=...).",
    "--fastapi-root-path": "It would shift the paths that the door compares. Write Endpoint(path=...).",
    "--help": "It would print and exit. Leave it out.",
    "--headless": "The engine has to answer HTTP on its port. Leave it out.",
    "--uds": "The engine has to answer HTTP on its port. Leave it out.",
    "--grpc": "The engine has to answer HTTP on its port. Leave it out.",
    "--grpc-mode": "The engine has to answer HTTP on its port. Leave it out.",
    "--smg-grpc-mode": "The engine has to answer HTTP on its port. Leave it out.",
    "--nnodes": "A service runs in one container. Leave it out.",
    "--node-rank": "A service runs in one container. Leave it out.",
}


def reserved_flags(instead: Mapping[str, str], table: FlagTable) -> dict[str, str]:
    """Return what to write instead of some flags by every spelling that the engine has for them."""
    spellings = {
        spelling: instead[name]
        for flag in table.flags
        for name in flag.names
        if name in instead
        for spelling in flag.names
    }
    return {**instead, **spellings}


def reserved_problems(
    arguments: Sequence[str], where: str, reserved: Mapping[str, str]
) -> Iterator[str]:
    """Say what is written in another place.

    Args:
        arguments: Flags and their values.
        where: Where they stand, for messages.
        reserved: What to write instead, by flag.
    """
    for given in split_flags(arguments):
        if given.name in reserved:
            yield f"{where} {given.name!r} is not written here. {reserved[given.name]}"
