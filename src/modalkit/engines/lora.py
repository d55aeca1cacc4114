"""LoRA adapters: small weights on top of a model, served under names of their own."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import BeforeValidator, Strict, model_validator

from .._values import Value
from ..errors import DeclarationError

__all__ = ["Adapters", "LoRA"]

_COMMIT = re.compile(r"[0-9a-f]{40}")


class LoRA(Value):
    """One adapter.

    Args:
        name: What clients write in ``model=`` to get it.
        source: Hub id, or an absolute path in the container, such as ``WeightCache.path`` gives.
        revision: Commit of the hub repository, 40 hexadecimal digits. Default: the locked one, or
            the newest at the first start.
        on_demand: Load it when a client first asks for its name, in each container by itself, and not
            at the start; of `VLLM` only. Default false.

    Raises:
        DeclarationError: A name that cannot stand in a command line, a folder of this machine, or
            a revision of something that is not on the hub.

    Examples:
        >>> LoRA("sql", "org/sql-lora").name
        'sql'
        >>> LoRA("sql", "./adapter")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: LoRA('sql').source './adapter' is not in the container. Write a hub id such as 'org/name', or an absolute path such as WeightCache('name').path('adapter').
    """

    name: str
    source: str
    revision: str | None = None
    on_demand: Annotated[bool, Strict()] = False

    def __init__(
        self, name: str, source: str, *, revision: str | None = None, on_demand: bool = False
    ) -> None:
        super().__init__(name=name, source=source, revision=revision, on_demand=on_demand)

    @property
    def is_on_hub(self) -> bool:
        """Whether the hub has it, and a lock can say which commit."""
        return not self.source.startswith("/")

    @model_validator(mode="after")
    def _can_be_loaded(self) -> Self:
        where = f"LoRA({self.name!r})"
        if not self.name or set(self.name) & set("=:, \t\n"):
            msg = f"{where} cannot name an adapter. Write a word without '=', ':', ',' and spaces."
            raise DeclarationError(msg)
        if self.on_demand and ("/" in self.name or self.name.startswith(".")):
            msg = (
                f"{where} names a folder of adapters, with on_demand=True. Write a word without '/' that "
                "does not begin with a dot."
            )
            raise DeclarationError(msg)
        if self.source.startswith((".", "~")) or not self.source:
            msg = (
                f"{where}.source {self.source!r} is not in the container. Write a hub id such as "
                "'org/name', or an absolute path such as WeightCache('name').path('adapter')."
            )
            raise DeclarationError(msg)
        if self.revision is not None and not self.is_on_hub:
            msg = f"{where}.revision {self.revision!r} names a hub commit, but source {self.source!r} is a path."
            raise DeclarationError(msg)
        if self.revision is not None and not _COMMIT.fullmatch(self.revision):
            msg = f"{where}.revision {self.revision!r} is not a commit. Write its 40 hexadecimal digits."
            raise DeclarationError(msg)
        return self


def _listed(given: object) -> object:
    if isinstance(given, (list, tuple)):
        return given
    msg = "must be a list such as [LoRA('name', 'org/name')]"
    raise ValueError(msg)


Adapters = Annotated[tuple[LoRA, ...], BeforeValidator(_listed)]
"""The adapters of an engine."""
