"""The names and container paths that Modal accepts, checked before Modal sees them.

The rules for names are those of the modal client 1.6.4 (``modal/_utils/name_utils.py``).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from .errors import DeclarationError

__all__ = [
    "LOCK_NAME",
    "check_container_path",
    "check_environment_name",
    "check_object_name",
    "check_region",
    "is_object_name",
    "is_variable_name",
]

LOCK_NAME = "modalkit.lock"  # beside the service's file

_OBJECT_NAME = re.compile(r"[a-zA-Z0-9._-]{1,64}")
_APP_ID = re.compile(r"ap-[a-zA-Z0-9]{22}")
_ENVIRONMENT_NAME = re.compile(r"(?![eE][nN]-)[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")
_REGION = re.compile(r"[a-z]+(-[a-z0-9]+)*")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_object_name(name: str) -> bool:
    """Whether Modal accepts this as the name of a Volume or Secret."""
    return bool(_OBJECT_NAME.fullmatch(name)) and not _APP_ID.fullmatch(name)


def is_variable_name(name: str) -> bool:
    """Whether this can name an environment variable."""
    return bool(_VARIABLE_NAME.fullmatch(name))


def check_object_name(where: str, name: str) -> None:
    """Refuse a name that Modal would refuse for a Volume.

    Raises:
        DeclarationError: The name, and the nearest one that is allowed.
    """
    if is_object_name(name):
        return
    nearest = re.sub(r"[^a-zA-Z0-9._-]+", "-", name).strip("-")[:64]
    hint = f" Write {nearest!r}." if nearest and is_object_name(nearest) else ""
    msg = (
        f"{where} {name!r} is not a name Modal accepts: 1 to 64 letters, digits, '-', '_' and '.', "
        f"and not an app id.{hint}"
    )
    raise DeclarationError(msg)


def check_environment_name(where: str, name: str | None) -> None:
    """Refuse a name that Modal would refuse for an environment; ``None`` is the active one.

    Raises:
        DeclarationError: The name and the rule.
    """
    if name is None or _ENVIRONMENT_NAME.fullmatch(name):
        return
    msg = (
        f"{where} {name!r} is not the name of a Modal environment: it starts with a letter or "
        "digit (but not with 'en-') and goes on with letters, digits, '-', '_' and '.', 64 at most."
    )
    raise DeclarationError(msg)


def check_region(where: str, region: str) -> None:
    """Refuse what cannot be one of Modal's regions; which exist depends on the day.

    Raises:
        DeclarationError: The region and the nearest form.
    """
    if _REGION.fullmatch(region):
        return
    nearest = re.sub(r"[^a-z0-9]+", "-", region.lower()).strip("-")
    hint = nearest if _REGION.fullmatch(nearest) else "us-east"
    msg = (
        f"{where} {region!r} does not have the form of a Modal region. Write one such as {hint!r}."
    )
    raise DeclarationError(msg)


def check_container_path(where: str, path: str) -> None:
    """Refuse a path in the container that is relative or not written in its shortest form.

    Raises:
        DeclarationError: The path, and how to write it.
    """
    pure = PurePosixPath(path)
    parts = [part for part in pure.parts if part not in {"/", "//", ".", ".."}]
    nearest = "/" + "/".join(parts)
    if path != nearest:
        reason = "relative" if not pure.is_absolute() else "not in its shortest form"
        msg = f"{where} {path!r} is {reason}. Write {nearest!r}: an absolute path in the container."
        raise DeclarationError(msg)
