"""The processes of a container, between the plane and the program that runs in it.

Run by path, in a process of its own: ``python -I -S launch/__main__.py SPEC [FD]`` starts one
container, ``python launch/__main__.py zygote FD MODULE`` waits to fork many. Either way nothing of
modalkit is imported there, and of Modal only what the zygote is told to. With namespaces the
processes are::

    plane or zygote
    └── launcher    outside the PID namespace; hears the plane, hands out sockets
        └── reaper  PID 1 inside; when it ends the kernel ends everything with it
            └── the program: Modal's container entrypoint, or anything else

Plane and launcher share a socket (``control.py``). When it closes, because either is gone, the
other knows: nothing outlives the plane, and the plane misses no end.
"""

from __future__ import annotations

from .spec import Bind, ContainerSpec

__all__ = ["Bind", "ContainerSpec"]
