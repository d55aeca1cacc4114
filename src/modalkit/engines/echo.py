"""Echo: a deterministic stand-in for a model server, for tests of what is around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from ..declare.image import ImageSpec
from .own_server import OwnServer

__all__ = ["Echo"]


class Echo(OwnServer):
    """A stand-in that answers with the words it was sent; no model, no GPU, no downloads.

    Args:
        served_name: The name clients put in ``model=``. Default: the service's model.
        ttft_ms: Delay before the first word, in milliseconds. Default 0.
        delay_ms: Delay before each further word, in milliseconds. Default 0.
        fail_every: Every n-th request is answered 429; 0 never. Default 0.
        context_length: Words of prompt and answer together. Default 8192.
        embedding_width: Numbers per embedding. Default 384.
        grace_s: Seconds that answers under way may take when the container stops. Default 30.
        env: Environment variables of the process; never secrets.

    Raises:
        DeclarationError: A negative delay or count, or a variable that looks like a secret.

    Examples:
        >>> from modalkit.engines import Launch
        >>> Echo(delay_ms=5).argv(Launch(model="any", served_name="echo"))[-2:]
        ('--delay-ms', '5.0')
    """

    title: ClassVar[str] = "Echo"
    needs_model: ClassVar[bool] = False
    module: ClassVar[str] = "modalkit.runtime.echo"
    option_flags: ClassVar[Mapping[str, str]] = {
        "ttft_ms": "--ttft-ms",
        "delay_ms": "--delay-ms",
        "fail_every": "--fail-every",
        "context_length": "--context-length",
        "embedding_width": "--embedding-width",
    }

    ttft_ms: NonNegativeFloat | None = None
    delay_ms: NonNegativeFloat | None = None
    fail_every: NonNegativeInt | None = None
    context_length: PositiveInt | None = None
    embedding_width: PositiveInt | None = None

    def image(self) -> ImageSpec:
        """Return a slim Python: modalkit's own needs are all it has."""
        return ImageSpec(python="3.12")
