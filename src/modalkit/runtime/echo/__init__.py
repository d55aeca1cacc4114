"""The stand-in engine: the OpenAI routes without a model, for tests of code that calls one.

Start it with ``python -m modalkit.runtime.echo --port N``. It says what it is: `/v1/models`
names its owner ``modalkit-echo (stand-in)``.
"""

from __future__ import annotations

from .backend import EchoBackend, EchoOptions

__all__ = ["EchoBackend", "EchoOptions"]
