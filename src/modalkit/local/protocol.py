"""Modal's protocol, as the installed client speaks it: the one module that depends on its version.

Everything else in this package takes message types from here as ``api`` and never asks which
version is installed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]  # protobuf ships no type information
from google.protobuf.message import Message  # type: ignore[import-untyped]  # the same
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from modal_proto import api_grpc, task_command_router_grpc
from modal_proto import api_pb2 as api
from modal_proto import task_command_router_pb2 as router

__all__ = [
    "MODAL_VERSION",
    "Empty",
    "Message",
    "api",
    "asks_for",
    "builder_version",
    "every_rpc",
    "fitting",
    "gives",
    "names_environment",
    "refuse",
    "router",
    "router_rpcs",
    "secret_sources",
    "serves_http",
    "text_of",
    "version_asked_for",
    "wants_token",
]

_Message = TypeVar("_Message", bound=Message)

MODAL_VERSION = importlib.metadata.version("modal")

# Image builder versions that modal itself marks as not yet generally available.
_NEWEST_STABLE_BUILDER = "2025.06"

# The client sends these without credentials, before it has any.
_OPEN_RPCS = frozenset({"TokenFlowCreate", "TokenFlowWait"})


class _Names:
    """Stands in for a service while its method table is read: every method is its own name."""

    def __getattr__(self, name: str) -> str:
        return name


def every_rpc() -> dict[str, tuple[str, Handler]]:
    """Return every RPC the installed protocol knows: its path, its name and its message types."""
    return _table(api_grpc.ModalClientBase)


def router_rpcs() -> dict[str, tuple[str, Handler]]:
    """Return every RPC of the command router, the service for commands in sandboxes."""
    return _table(task_command_router_grpc.TaskCommandRouterBase)


def _table(service: type[Any]) -> dict[str, tuple[str, Handler]]:
    read_table: Callable[[Any], dict[str, Handler]] = service.__mapping__
    return {path: (str(handler.func), handler) for path, handler in read_table(_Names()).items()}


def names_environment(rpc: Handler) -> bool:
    """Return whether an RPC's request says which environment it is about."""
    return "environment_name" in rpc.request_type.DESCRIPTOR.fields_by_name


def fitting(message: type[_Message], **fields: object) -> _Message:
    """Make a message of those fields that the installed protocol knows.

    What older clients do not know they do not miss. Parts of a message may be given as dicts.
    """
    known = message.DESCRIPTOR.fields_by_name
    made: _Message = message(**{name: value for name, value in fields.items() if name in known})
    return made


def asks_for(request: Message, flag: str) -> bool:
    """Return whether a request sets a flag that older clients do not know."""
    return bool(getattr(request, flag, False))


def gives(request: Message, part: str) -> bool:
    """Return whether a request gives a part that older clients may not know."""
    return part in request.DESCRIPTOR.fields_by_name and bool(request.HasField(part))


def serves_http(definition: Message) -> bool:
    """Return whether a function listens for HTTP: an `app.server`, or a class with `http_server`."""
    return bool(definition.is_server) or gives(definition, "http_config")


def text_of(request: Message, name: str) -> str:
    """Return a text of a request; it is empty where older clients do not know it."""
    return str(getattr(request, name, ""))


def version_asked_for(request: Message) -> int:
    """Return the version of an app that a lookup names; 0, also from older clients, for none."""
    return int(getattr(request, "app_version", 0))


def secret_sources(request: Message) -> list[dict[str, str] | str]:
    """Return the secrets that a request about a sandbox names: their values, or their ids.

    Clients before 1.6 send no such list; their requests have ``secret_ids`` and variables only.
    """
    return [
        source.secret_id
        if source.WhichOneof("source") == "secret_id"
        else dict(source.env.contents)
        for source in getattr(request, "secret_sources", ())
    ]


def wants_token(name: str) -> bool:
    """Return whether an RPC must carry this plane's token when it comes over TCP."""
    return name not in _OPEN_RPCS


def builder_version() -> str:
    """Return the newest stable image builder version the installed client knows."""
    spec = importlib.util.find_spec("modal")
    if spec is None or not spec.submodule_search_locations:
        return _NEWEST_STABLE_BUILDER
    folder = Path(next(iter(spec.submodule_search_locations))) / "builder"
    known = sorted(path.stem for path in folder.glob("20??.??.txt"))
    return _NEWEST_STABLE_BUILDER if _NEWEST_STABLE_BUILDER in known else known[-1]


def refuse(status: Status, message: str) -> NoReturn:
    """End the current RPC with an error the client shows to its user."""
    raise GRPCError(status, message)
