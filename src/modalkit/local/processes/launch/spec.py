"""What the plane tells a launcher."""

from __future__ import annotations

from typing import NotRequired, TypedDict

__all__ = ["Bind", "ContainerSpec"]


class Bind(TypedDict):
    """A host path that appears at a path in the container.

    Attributes:
        overlay: Options of an overlay that is mounted instead; their paths are below ``source``.
    """

    source: str
    target: str
    read_only: bool
    overlay: NotRequired[str]


class ContainerSpec(TypedDict):
    """Everything the launcher needs, written as JSON by ``isolation.py``.

    Attributes:
        namespaces: Make a mount and a PID namespace; otherwise only a session of its own.
        own_network: Also make a network namespace, and hand sockets in it to the plane.
        layer: A folder laid over the machine's root: the mounted files.
        lowers: Image layers, each laid over the machine's root and the ones before it.
        changes: Keeps what the container writes, to become an image layer; empty for nowhere.
        scratch: A folder for this container alone, removed by the plane when it ends.
        masks: Host folders that the container has its own version of.
        keep: Host paths below a mask that stay visible (Python itself).
        binds: Volumes and the folder with the plane's socket.
        cgroups: Files into which the container's first process writes itself.
        argv: The program and its arguments; the first is its path, not only its name.
        visitor: What to run in it besides, for whoever wants to run commands there; as ``argv``.
        cwd: Made if it is missing.
        listen_ports: Loopback ports the plane serves inside an own network.
    """

    namespaces: bool
    own_network: bool
    layer: str
    lowers: list[str]
    changes: str
    scratch: str
    masks: list[str]
    keep: list[str]
    binds: list[Bind]
    cgroups: list[str]
    argv: list[str]
    visitor: list[str]
    env: dict[str, str]
    cwd: str
    listen_ports: list[int]
