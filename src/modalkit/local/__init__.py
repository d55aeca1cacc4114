"""A local Modal: a control plane on loopback for the unmodified modal client and container code.

It knows nothing of the rest of modalkit and serves any Modal app. A part of the picture each:

    address     the port and credentials of a plane, known before it is loaded
    plane       every part put together; start and stop
    server      gRPC in and out; `rpc/` has a module per area of RPCs
    apps, functions, calls      what the client declared and asked for
    pools       how many containers, and which input goes where
    containers, isolation, launch, world    one container: its process, its files, its view
    web, replicas, network      HTTP from outside to a container
    state, files, blobs, volumes, images    what is kept, and where
    database, records, migrations   the one file of records; named, environments, dicts, queues in it
    sandboxes, sandbox_host, commands, command_router   commands in a container; `inside/` runs there
    settings    what a user chooses
    protocol    the one module that depends on modal's version
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .address import Address
from .settings import Settings
from .state import default_state_folder

if TYPE_CHECKING:
    from .plane import LocalModal

__all__ = ["Address", "LocalModal", "Settings", "default_state_folder"]


def __getattr__(name: str) -> object:
    """Import the plane when it is first used: it loads gRPC and an HTTP server."""
    if name == "LocalModal":
        from .plane import LocalModal  # noqa: PLC0415 - see above

        return LocalModal
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
