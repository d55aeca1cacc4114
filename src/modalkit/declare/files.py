"""`File`: a file that a request brings, by multipart or as the whole body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

__all__ = ["File"]


@dataclass(frozen=True, slots=True)
class File:
    """A file that a request brings.

    In JSON it is an object with these fields, the content in base64.

    Attributes:
        data: Its content.
        name: The name the sender gave it, which may be anything; empty where there is none.
        media_type: What the sender says it is.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )

    data: bytes
    name: str = ""
    media_type: str = "application/octet-stream"
