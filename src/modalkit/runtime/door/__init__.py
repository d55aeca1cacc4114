"""The door: what every request passes before it reaches a service, and what decides.

It runs where the requests arrive: in modalkit's own web app for ``Endpoint(kind="web")``, and inside
the engine's process for ``kind="server"``. It looks at a request once, before its first byte goes
on, and at the beginning of its answer; nothing of it stands between an engine and the tokens it sends.
"""

from __future__ import annotations

from .engine import EngineDoor, with_door_from_environment
from .guarded import guarded

__all__ = ["EngineDoor", "guarded", "with_door_from_environment"]
