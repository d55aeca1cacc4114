"""What the engines have in common whose server is modalkit's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, NonNegativeInt, field_validator

from .base import Engine, Launch
from .variables import without_secrets

__all__ = ["OwnServer"]


class OwnServer(Engine):
    """Base of the engines that run ``python -m modalkit.runtime.<name>``.

    Args:
        served_name: The name clients put in ``model=``. Default: the service's model.
        grace_s: Seconds that answers under way may take when the container stops. Default: the
            server's own, 30.
        env: Environment variables of the process; never secrets.
    """

    takes_door: ClassVar[bool] = True
    module: ClassVar[str]
    option_flags: ClassVar[Mapping[str, str]]
    """The server's flag for every field that is passed on as it is."""

    served_name: str | None = None
    grace_s: NonNegativeInt | None = None
    env: Mapping[str, str] = Field(default_factory=dict)

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command line; ``python`` in it is the container's interpreter."""
        return (
            *("python", "-m", self.module, "--host", launch.host, "--port", str(launch.port)),
            *("--served-model-name", self.served_name or launch.served_name),
            *self._options(),
        )

    def environment(self, launch: Launch) -> dict[str, str]:  # noqa: ARG002 - the same everywhere
        """Return the engine's ``env``."""
        return dict(self.env)

    def _options(self) -> tuple[str, ...]:
        flags = {"grace_s": "--grace-s", **self.option_flags}
        given = {flag: getattr(self, field) for field, flag in flags.items()}
        return tuple(
            word
            for flag, value in given.items()
            if value is not None
            for word in (flag, str(value))
        )

    @field_validator("env")
    @classmethod
    def _no_secrets(cls, env: Mapping[str, str]) -> Mapping[str, str]:
        return without_secrets(cls.__name__, env)
