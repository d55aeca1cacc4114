"""What a user chooses when a local Modal starts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a local Modal treats what this machine lacks.

    Attributes:
        namespaces: Give containers their own view of files, processes and network where this
            machine allows it.
        strict_gpu: Refuse a function that asks for a GPU this machine does not have.
        strict_images: Refuse an image with steps that need a container engine.
        response_wait_s: How long a web request waits for its response to begin before it is
            redirected to a URL at which to go on waiting. Modal's is 150 s.
    """

    namespaces: bool = True
    strict_gpu: bool = False
    strict_images: bool = False
    response_wait_s: float = 150.0
