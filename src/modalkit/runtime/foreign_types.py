"""What makes a type of another package come out of JSON and bytes, and go into them."""

from __future__ import annotations

from typing import Any

from pydantic_core import core_schema

__all__ = ["Foreign"]


class Foreign:
    """A type of another package: how it comes out of JSON and bytes, and goes into them.

    Attributes:
        media_type: What it is as bytes.
        schema: Its JSON schema.
    """

    media_type = "application/octet-stream"
    schema: dict[str, Any]

    def load(self, value: Any) -> Any:
        """Make the value of what JSON gave, of bytes or of a `File`.

        Raises:
            ValueError: It cannot be one.
        """
        raise NotImplementedError

    def dump(self, value: Any) -> Any:
        """Make what JSON takes of the value."""
        raise NotImplementedError

    def to_bytes(self, value: Any, media_type: str) -> bytes:
        """Make bytes of the value."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        dumped = core_schema.plain_serializer_function_ser_schema(self.dump, when_used="json")
        return core_schema.no_info_plain_validator_function(self.load, serialization=dumped)

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return self.schema
