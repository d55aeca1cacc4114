"""Who a caller must show to be: Modal's proxy tokens, or Bearer keys of a Secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from .._names import is_variable_name
from .._values import Value
from ..errors import DeclarationError
from .secrets import Secret, holds_credential

__all__ = ["BearerKeys", "Credential", "ProxyAuth", "credentials_of"]

_DEFAULT_SECRET = "modalkit-api-key"  # noqa: S105 - the name of a Secret in Modal, not its value
_DEFAULT_VARIABLE = "MODALKIT_API_KEY"


class BearerKeys(Value):
    """Bearer keys that modalkit checks on every request, in the container.

    The client sends ``Authorization: Bearer KEY``, as every OpenAI client does with its
    ``api_key``, or ``x-api-key: KEY``, as Anthropic's do. The Secret holds one key or several,
    separated by commas or line ends, all equally good. To change one, store the old and the new,
    run ``modal app rollover APP`` (nothing is deployed again), and drop the old one likewise.

    Args:
        secret: The Modal Secret that holds the keys. Default ``Secret("modalkit-api-key")``:
            create it once with ``modal secret create modalkit-api-key MODALKIT_API_KEY=...``.
        variable: The key of that Secret to read; it becomes a required key of the reference.
            Default ``"MODALKIT_API_KEY"``.

    Raises:
        DeclarationError: A variable that cannot be one.

    Examples:
        >>> BearerKeys(Secret("team"), variable="CHAT_KEYS").secret.keys
        ('CHAT_KEYS',)
    """

    kind: Literal["bearer"] = "bearer"
    secret: Secret
    variable: str = _DEFAULT_VARIABLE

    def __init__(
        self,
        secret: Secret | None = None,
        *,
        variable: str = _DEFAULT_VARIABLE,
        kind: Literal["bearer"] = "bearer",
    ) -> None:
        _check_variable(variable)
        held = _as_secret(secret)
        super().__init__(kind=kind, secret=held.requiring(variable), variable=variable)


class ProxyAuth(Value):
    """Modal's own proxy tokens: Modal refuses a request without one before a container starts.

    The client sends ``Modal-Key`` and ``Modal-Secret``, which OpenAI clients can send as default
    headers. Tokens are made in the workspace's settings.
    """

    kind: Literal["proxy"] = "proxy"


Credential = Annotated[BearerKeys | ProxyAuth, Field(discriminator="kind")]


def credentials_of(
    auth: BearerKeys | ProxyAuth | Sequence[BearerKeys | ProxyAuth] | None, *, public: object
) -> object:
    """Return what ``Endpoint(auth=...)`` was given as a tuple; the default where nothing was.

    Raises:
        DeclarationError: Something that is not a credential; its value is not shown.
    """
    if auth is None:
        return () if public is True else (ProxyAuth(),)
    given = tuple(auth) if isinstance(auth, list | tuple) else (auth,)
    for one in given:
        if not isinstance(one, BearerKeys | ProxyAuth | Mapping):
            # Its type alone: someone may have pasted the key itself.
            msg = (
                f"Endpoint.auth must be ProxyAuth(), BearerKeys(...) or both in a list, got "
                f"{type(one).__name__}. Write auth=BearerKeys(Secret('NAME'))."
            )
            raise DeclarationError(msg)
    return given


def _check_variable(variable: object) -> None:
    if isinstance(variable, str) and is_variable_name(variable) and not holds_credential(variable):
        return
    # Not shown: someone may have written the key itself here.
    msg = (
        "BearerKeys.variable is not the name of an environment variable (letters, digits and '_'). "
        f"Write the name alone, such as {_DEFAULT_VARIABLE!r}."
    )
    raise DeclarationError(msg)


def _as_secret(secret: object) -> Secret:
    if secret is None:
        return Secret(_DEFAULT_SECRET)
    if isinstance(secret, Mapping):  # a value read back from JSON
        return Secret(**secret)
    if not isinstance(secret, Secret):
        # A key pasted here must not be repeated.
        msg = (
            f"BearerKeys.secret must be a Secret, got {type(secret).__name__}. "
            'Write BearerKeys(Secret("NAME")).'
        )
        raise DeclarationError(msg)
    return secret
