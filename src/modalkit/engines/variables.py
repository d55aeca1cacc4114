"""Environment variables of an engine: plain ones in its declaration, secrets never."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import DeclarationError

__all__ = ["is_secret", "without_secrets"]


def is_secret(name: str) -> bool:
    """Whether a flag or variable of this name holds a secret, which must not be shown.

    Examples:
        >>> is_secret("--hf-token"), is_secret("HF_TOKEN"), is_secret("--tokenizer-mode")
        (True, True, False)
    """
    last = re.split(r"[-_.]", name.lower())[-1]
    return last in {"key", "token", "secret", "password"}


def without_secrets(engine: str, env: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables as they are.

    Raises:
        DeclarationError: One is named like a secret; its value is not shown.
    """
    for name in env:
        if is_secret(name):
            msg = (
                f"{engine}.env {name!r} looks like a secret, and its value would stand in the "
                "plan. Write secrets = [Secret(...)] in the service."
            )
            raise DeclarationError(msg)
    return env
