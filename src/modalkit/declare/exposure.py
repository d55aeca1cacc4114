"""What an endpoint shows to whom: routes, web pages, and what its log shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypedDict
from urllib.parse import urlsplit

from pydantic import Strict, model_validator

from .._values import Value, between
from ..errors import DeclarationError

__all__ = ["CORS", "AccessLog", "CORSOptions", "Exposure"]

Exposure = Literal["open", "key", "closed"]
"""Who reaches a route: everyone whom Modal lets in, whoever is let in to the rest, or nobody."""

AccessLog = Literal["off", "requests", "prompts"]
"""What is logged of each request: nothing, one line, or one line with what was asked."""

# What a web page may read of an answer beside the few headers browsers always show.
_SHOWN_HEADERS = ["x-request-id", "retry-after"]


class CORSOptions(TypedDict):
    """The keywords of Starlette's ``CORSMiddleware``."""

    allow_origins: list[str]
    allow_methods: list[str]
    allow_headers: list[str]
    allow_credentials: bool
    max_age: int
    expose_headers: list[str]


class CORS(Value):
    """Which web pages of other origins may call the endpoint from a browser.

    Args:
        origins: ``"https://app.example.com"`` and the like, or ``"*"`` for every page.
        methods: HTTP methods. Default GET, POST and OPTIONS.
        headers: Request headers. Default ``authorization`` and ``content-type``.
        credentials: Let the browser send cookies; not together with ``"*"``. Default false.
        max_age_s: Seconds a browser may remember the answer, 0 to 86400. Default 600.

    Raises:
        DeclarationError: Something that is not an origin; ``"*"`` with credentials.

    Examples:
        >>> CORS("https://app.example.com").to_starlette()["allow_origins"]
        ['https://app.example.com']
        >>> CORS("*", credentials=True)
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: CORS(origins=('*',), credentials=True) would let every web page act as the visitor, and browsers refuse it. Name the origins, or leave credentials out.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...] = ("GET", "POST", "OPTIONS")
    headers: tuple[str, ...] = ("authorization", "content-type")
    credentials: bool = False
    max_age_s: Annotated[int, Strict(), between(0, 86_400, "seconds")] = 600

    def __init__(
        self,
        origins: str | Sequence[str],
        *,
        methods: Sequence[str] = ("GET", "POST", "OPTIONS"),
        headers: Sequence[str] = ("authorization", "content-type"),
        credentials: bool = False,
        max_age_s: int = 600,
    ) -> None:
        super().__init__(
            origins=(origins,) if isinstance(origins, str) else tuple(origins),
            methods=tuple(method.upper() for method in methods),
            headers=tuple(header.lower() for header in headers),
            credentials=credentials,
            max_age_s=max_age_s,
        )

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if not self.origins:
            msg = "CORS.origins is empty, which allows nobody. Leave cors out of the endpoint."
            raise DeclarationError(msg)
        for origin in self.origins:
            _check_origin(origin)
        if self.credentials and "*" in self.origins:
            msg = (
                f"CORS(origins={self.origins!r}, credentials=True) would let every web page act as "
                "the visitor, and browsers refuse it. Name the origins, or leave credentials out."
            )
            raise DeclarationError(msg)
        return self

    def to_starlette(self) -> CORSOptions:
        """Compile to keywords of ``starlette.middleware.cors.CORSMiddleware``."""
        return CORSOptions(
            allow_origins=list(self.origins),
            allow_methods=list(self.methods),
            allow_headers=list(self.headers),
            allow_credentials=self.credentials,
            max_age=self.max_age_s,
            expose_headers=_SHOWN_HEADERS,
        )


def _check_origin(origin: str) -> None:
    if origin == "*":
        return
    parts = urlsplit(origin if "://" in origin else f"https://{origin}")
    nearest = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme in {"http", "https"} and parts.netloc and origin == nearest:
        return
    hint = nearest if parts.netloc else "https://app.example.com"
    msg = f"CORS.origins has {origin!r}, which is not an origin (scheme and host alone). Write {hint!r}."
    raise DeclarationError(msg)
