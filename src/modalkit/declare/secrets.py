"""References to Modal Secrets: names and required keys, never values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from .._names import check_environment_name, is_object_name, is_variable_name
from .._values import Value
from ..errors import DeclarationError
from .key_shapes import holds_credential

if TYPE_CHECKING:
    import modal

__all__ = ["Secret", "holds_credential", "merge_secrets", "secrets_to_modal"]


class Secret(Value):
    """A Modal Secret by name; its value stays with Modal.

    Create it once with ``modal secret create NAME KEY=...``; the container then has every key of it
    as an environment variable.

    Args:
        name: The Secret's name in Modal.
        keys: Environment variables the Secret must hold. Modal refuses the deployment when one is
            missing. Default: none required.
        environment_name: Modal environment to look in. Default: the active one.

    Raises:
        DeclarationError: A value instead of a name, or a name Modal does not accept. The text that
            was given is not repeated, in case it is a value.

    Examples:
        >>> Secret("huggingface", keys=["HF_TOKEN"]).keys
        ('HF_TOKEN',)
        >>> Secret("HF_TOKEN=hf_not-shown")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Secret.name is not a name Modal accepts (1 to 64 letters, digits, '-', '_' and '.'). What was given is not shown, in case it is a secret's value. Store the value with `modal secret create NAME KEY=...` and write Secret("NAME").
    """

    name: str
    keys: tuple[str, ...] = ()
    environment_name: str | None = None

    def __init__(
        self, name: str, *, keys: Sequence[str] = (), environment_name: str | None = None
    ) -> None:
        # Before pydantic sees them: its messages would repeat what was given.
        _check_name(name)
        names = (keys,) if isinstance(keys, str) else tuple(keys)
        for index, key in enumerate(names):
            _check_key(name, index, key)
        super().__init__(
            name=name, keys=tuple(dict.fromkeys(names)), environment_name=environment_name
        )

    @model_validator(mode="after")
    def _environment_exists(self) -> Self:
        check_environment_name(f"Secret({self.name!r}).environment_name", self.environment_name)
        return self

    def requiring(self, *keys: str) -> Secret:
        """Return the same reference with more required keys."""
        return Secret(self.name, keys=(*self.keys, *keys), environment_name=self.environment_name)

    def to_modal(self) -> modal.Secret:
        """Compile to the ``modal.Secret`` of this name; nothing is looked up before deployment."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        return modal.Secret.from_name(
            self.name, environment_name=self.environment_name, required_keys=list(self.keys)
        )


def merge_secrets(secrets: Iterable[Secret]) -> tuple[Secret, ...]:
    """Merge references in order: of two Secrets with the same key, Modal takes the later one.

    A Secret named twice is kept once, where it last stood, with the keys of both.
    """
    merged: dict[tuple[str, str | None], Secret] = {}
    for secret in secrets:
        place = (secret.name, secret.environment_name)
        earlier = merged.pop(place, None)
        merged[place] = earlier.requiring(*secret.keys) if earlier else secret
    return tuple(merged.values())


def secrets_to_modal(secrets: Iterable[Secret]) -> list[modal.Secret]:
    """Compile several references to Modal's ``secrets=`` argument, merged in order."""
    return [secret.to_modal() for secret in merge_secrets(secrets)]


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        msg = f'Secret.name must be a string, got {type(name).__name__}. Write Secret("NAME").'
        raise DeclarationError(msg)
    if not is_object_name(name):
        problem = "is not a name Modal accepts (1 to 64 letters, digits, '-', '_' and '.')"
    elif holds_credential(name) or _looks_random(name):
        problem = "looks like a secret's value, not its name"
    else:
        return
    msg = (
        f"Secret.name {problem}. What was given is not shown, in case it is a secret's value. "
        'Store the value with `modal secret create NAME KEY=...` and write Secret("NAME").'
    )
    raise DeclarationError(msg)


def _check_key(name: str, index: int, key: object) -> None:
    if (
        isinstance(key, str)
        and is_variable_name(key)
        and not holds_credential(key)
        and not _looks_random(key)
    ):
        return
    msg = (
        f"Secret({name!r}).keys[{index}] is not the name of an environment variable. What was given "
        "is not shown, in case it is a secret's value. Write the name alone, such as 'HF_TOKEN'."
    )
    raise DeclarationError(msg)


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_RUN = re.compile(r"[A-Za-z0-9]{20,}")


def _looks_random(text: str) -> bool:
    """Whether the text holds a long run that keeps changing between upper, lower and digits.

    Words change seldom (``HuggingFaceProduction2026``); in random text more than a third of the
    neighbours differ in kind, and a digit is among them.
    """
    return bool(_UUID.fullmatch(text)) or any(_is_random(run) for run in _RUN.findall(text))


def _is_random(run: str) -> bool:
    kinds = [char.isdigit() + 2 * char.isupper() for char in run]
    changes = sum(one != other for one, other in pairwise(kinds))
    return any(char.isdigit() for char in run) and 3 * changes > len(run)
