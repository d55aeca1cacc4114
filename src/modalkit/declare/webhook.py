"""Whom to tell when a service fails: a webhook, declared."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import Strict, model_validator

from .._names import is_variable_name
from .._values import Value, between, one_of
from ..errors import DeclarationError
from .secrets import Secret, holds_credential

__all__ = ["FailureEvent", "Webhook"]

FailureEvent = Literal["start", "engine_death", "failures", "health"]
"""A container did not start; its engine died; requests keep failing; the self-test fails."""

_EVENTS: tuple[FailureEvent, ...] = get_args(FailureEvent)
_DAY_S = 86_400
# Addresses whose path is the credential.
_SECRET_ADDRESSES = ("hooks.slack.com/", "discord.com/api/webhooks/", ".webhook.office.com/")


class Webhook(Value):
    """An HTTP address that is told of failures, from a thread that no request waits for.

    Each message is a JSON object by POST with the event, the service, the container and figures; no
    prompt, no secret and no text of an exception. It is tried again for some 15 seconds, and one kind
    of event is told once in ``every_s``. With a key it is signed as Standard Webhooks has it.

    Args:
        to: The address, ``"https://..."``; or the `Secret` whose ``variable`` holds it, where the
            address is itself a credential, as Slack's are.
        variable: The variable of that Secret. Default ``"MODALKIT_WEBHOOK_URL"``.
        signed_with: The Secret that holds the key for signatures. Default: none, unsigned.
        key_variable: The variable of that Secret. Default ``"MODALKIT_WEBHOOK_KEY"``.
        events: Which events; default all.
        failures: Failed requests that count as ``"failures"``, 1 to 10000. Default 10.
        within_s: Seconds within which they fail. Default 60.
        every_s: Seconds in which one kind of event is told once by a container. Default 300.

    Raises:
        DeclarationError: No address, one that is not ``https``, one that is a credential; a number
            out of range. A credential is not repeated.

    Examples:
        >>> Webhook(Secret("alerts"), events=["start"]).secrets[0].keys
        ('MODALKIT_WEBHOOK_URL',)
        >>> Webhook("example.com/hook")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Webhook.to 'example.com/hook' is not an address that begins with https://. Write 'https://example.com/hook', or a Secret that holds it.
    """

    url: str | None
    secret: Secret | None
    variable: str
    signed_with: Secret | None
    key_variable: str
    events: tuple[FailureEvent, ...]
    failures: Annotated[int, Strict(), between(1, 10_000)] = 10
    within_s: Annotated[float, between(1, _DAY_S, "seconds")] = 60.0
    every_s: Annotated[float, between(1, _DAY_S, "seconds")] = 300.0

    def __init__(
        self,
        to: str | Secret | None = None,
        *,
        variable: str = "MODALKIT_WEBHOOK_URL",
        signed_with: Secret | None = None,
        key_variable: str = "MODALKIT_WEBHOOK_KEY",
        events: tuple[FailureEvent, ...] | list[FailureEvent] = _EVENTS,
        failures: int = 10,
        within_s: float = 60.0,
        every_s: float = 300.0,
        url: str | None = None,
        secret: Secret | None = None,
    ) -> None:
        # `url` and `secret` are what a value read back from JSON has in place of `to`.
        url = to if isinstance(to, str) else url
        secret = to if isinstance(to, Secret) else secret
        if to is not None and url is None and secret is None:
            msg = f"Webhook.to must be an address or a Secret, got {type(to).__name__}."
            raise DeclarationError(msg)
        for name, value in (("variable", variable), ("key_variable", key_variable)):
            _check_variable(name, value)
        super().__init__(
            url=url,
            secret=_with_key(secret, variable),
            variable=variable,
            signed_with=_with_key(signed_with, key_variable),
            key_variable=key_variable,
            events=tuple(events),
            failures=failures,
            within_s=within_s,
            every_s=every_s,
        )

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if (self.url is None) == (self.secret is None):
            msg = 'Webhook.to is missing. Write Webhook("https://..."), or a Secret that holds it.'
            raise DeclarationError(msg)
        if self.url is not None:
            _check_address(self.url)
        if not self.events:
            msg = (
                f"Webhook.events is empty, so nothing is told. Write {one_of(map(repr, _EVENTS))}."
            )
            raise DeclarationError(msg)
        return self

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The Secrets that its container needs."""
        return tuple(one for one in (self.secret, self.signed_with) if one is not None)

    @property
    def target(self) -> str:
        """Where it goes, for people: the host, or the variable that holds the address."""
        return urlsplit(self.url).netloc if self.url else f"the address in {self.variable}"


def _with_key(secret: Secret | None, variable: str) -> Secret | None:
    return secret.requiring(variable) if isinstance(secret, Secret) else secret


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if "@" in parts.netloc or holds_credential(address) or _is_secret(address):
        msg = (
            "Webhook.to is an address that is itself a credential; it is not shown. Store it with "
            "`modal secret create alerts MODALKIT_WEBHOOK_URL=...` and write Webhook(Secret('alerts'))."
        )
        raise DeclarationError(msg)
    here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and here)):
        return
    bare = address.partition("://")[2] or address
    msg = (
        f"Webhook.to {address!r} is not an address that begins with https://. "
        f"Write {'https://' + bare!r}, or a Secret that holds it."
    )
    raise DeclarationError(msg)


def _is_secret(address: str) -> bool:
    return any(place in address.lower() for place in _SECRET_ADDRESSES)


def _check_variable(name: str, value: object) -> None:
    if not isinstance(value, str) or not is_variable_name(value) or holds_credential(value):
        msg = (
            f"Webhook.{name} is not the name of an environment variable; what was given is not shown, "
            "in case it is a secret's value. Write the name alone, such as 'MODALKIT_WEBHOOK_URL'."
        )
        raise DeclarationError(msg)
