"""A local Modal: a control plane on loopback for the unmodified modal client and container code.

It knows nothing of the rest of modalkit and serves any Modal app. From the ground up:

    protocol, ids   the one module that depends on modal's version; names for things
    settings        what a user chooses
    address, presence   a plane's port and credentials, known before it is loaded; which plane is up
    wire/           gRPC over HTTP/2 and HTTP/1.1, written for this; no handler
    store/          the state folder: records, files, blobs, secrets, dicts, queues
    processes/      one container's process: its view, its limits, its end; `launch/`, `inside/` run there
    calls/          inputs on their way in, outputs on their way out
    volumes/, images/   layers that containers see
    containers/     how many a function has, which input goes where, what one finds
    apps/           what clients declared: functions, deployments, schedules, logs
    web/            HTTP from outside to a container
    sandboxes/      commands in containers: sandboxes, `modal container exec`
    rpc/            a module per area of RPCs; admin: the routes of other commands
    dashboard/      the page about it all
    plane           every part put together; start and stop
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .address import Address
from .settings import Settings
from .store.state import default_state_folder

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
