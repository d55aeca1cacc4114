"""How a service is reached over HTTP, and who may."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypedDict

from pydantic import Strict, model_validator

from .._names import check_region
from .._values import Value, between
from ..errors import DeclarationError
from .credentials import BearerKeys, Credential, ProxyAuth, credentials_of
from .exposure import CORS, AccessLog, Exposure

__all__ = ["Endpoint", "ServerEndpointOptions", "WebEndpointOptions"]

_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9_.~-]+)+")
_LABEL = re.compile(r"(?![0-9]+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class WebEndpointOptions(TypedDict, total=False):
    """The keywords of ``modal.asgi_app``."""

    label: str
    requires_proxy_auth: bool


class ServerEndpointOptions(TypedDict, total=False):
    """The endpoint keywords of ``app.server``."""

    port: int
    unauthenticated: bool
    routing_region: str


class Endpoint(Value):
    """The HTTP side of a service; closed to strangers unless it says ``public=True``.

    Args:
        path: Where the routes begin, such as ``"/"`` or ``"/chat"``. Default ``"/"``.
        kind: ``"web"``: an ASGI app beside the remote methods. ``"server"``: Modal's low-latency
            servers, where requests reach the engine's port directly and nothing else can be called.
            The same rules hold for both. Default ``"web"``.
        auth: ``ProxyAuth()``, ``BearerKeys(...)``, or both in a list, which asks for both. Default
            ``ProxyAuth()``: Modal refuses a stranger before a container starts, so that nobody else
            can make a GPU start and cost money.
        public: Anyone on the internet may call it. The only way to have no ``auth``. Default false.
        health: Who may ask ``/health``. ``"open"``: no Bearer key needed (``ProxyAuth`` still asks
            for its tokens); ``"key"``: as every route; ``"closed"``: nobody. Default ``"open"``.
        metrics: The same for the engine's ``/metrics``. Default ``"closed"``.
        cors: ``CORS(...)`` for calls from web pages. Default: none.
        rate_limit_per_minute: Requests that each Bearer key may make in a minute, as many of them at
            once; more are answered 429 with ``Retry-After``. Each container counts for itself.
            Default: no limit.
        max_body_mib: Largest body of a request; more is answered 413. 1 to 4096. Default 64.
        access_log: ``"requests"``: one line of JSON for each, without keys and what was asked.
            ``"prompts"``: also the first 16 KiB of its body. ``"off"``. Default ``"requests"``.
        label: First part of the host name on modal.run; only for ``"web"``. Default: Modal's, from
            the app and class names.
        port: TCP port the engine listens on in the container. Default 8000.
        routing_region: Region through which Modal routes the requests. For ``"web"`` it belongs to
            ``app.cls``, not to ``to_modal()``. Default: Modal's, ``us-east``.
        docs: Serve ``/docs`` and ``/openapi.json`` of a custom service. Default true.

    Raises:
        DeclarationError: ``public=True`` with an ``auth``; a field the kind or the ``auth`` cannot
            have; a path or label that cannot be one.

    Examples:
        >>> Endpoint().auth
        (ProxyAuth(kind='proxy'),)
        >>> Endpoint(auth=BearerKeys()).keys.variable
        'MODALKIT_API_KEY'
        >>> Endpoint(kind="server").to_modal_server()
        {'port': 8000, 'unauthenticated': False}
        >>> Endpoint(public=True, auth=ProxyAuth())
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Endpoint(public=True) is open to everyone, but auth is ProxyAuth(). Leave one of the two out.
    """

    path: str = "/"
    kind: Literal["web", "server"] = "web"
    auth: tuple[Credential, ...]
    public: Annotated[bool, Strict()] = False
    health: Exposure = "open"
    metrics: Exposure = "closed"
    cors: CORS | None = None
    rate_limit_per_minute: Annotated[int, Strict(), between(1, 1_000_000)] | None = None
    max_body_mib: Annotated[int, Strict(), between(1, 4096, "MiB")] = 64
    access_log: AccessLog = "requests"
    label: str | None = None
    port: Annotated[int, Strict(), between(1, 65_535)] = 8000
    routing_region: str | None = None
    docs: Annotated[bool, Strict()] = True

    def __init__(
        self,
        path: str = "/",
        *,
        kind: Literal["web", "server"] = "web",
        auth: BearerKeys | ProxyAuth | Sequence[BearerKeys | ProxyAuth] | None = None,
        public: bool = False,
        health: Exposure = "open",
        metrics: Exposure = "closed",
        cors: CORS | None = None,
        rate_limit_per_minute: int | None = None,
        max_body_mib: int = 64,
        access_log: AccessLog = "requests",
        label: str | None = None,
        port: int = 8000,
        routing_region: str | None = None,
        docs: bool = True,
    ) -> None:
        super().__init__(
            path=path,
            kind=kind,
            auth=credentials_of(auth, public=public),
            public=public,
            health=health,
            metrics=metrics,
            cors=cors,
            rate_limit_per_minute=rate_limit_per_minute,
            max_body_mib=max_body_mib,
            access_log=access_log,
            label=label,
            port=port,
            routing_region=routing_region,
            docs=docs,
        )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        self._check_auth()
        _check_path(self.path)
        if self.label is not None:
            _check_label(self.label)
        if self.routing_region is not None:
            check_region("Endpoint.routing_region", self.routing_region)
        if self.kind == "server" and self.label is not None:
            msg = "Endpoint(kind='server').label has no effect. Leave it out, or write kind='web'."
            raise DeclarationError(msg)
        return self

    def _check_auth(self) -> None:
        named = " and ".join(f"{type(one).__name__}()" for one in self.auth)
        if not self.auth and not self.public:
            msg = (
                "Endpoint has neither auth nor public=True. Write auth=ProxyAuth(), or public=True."
            )
            raise DeclarationError(msg)
        if self.public and self.auth:
            msg = (
                f"Endpoint(public=True) is open to everyone, but auth is {named}. "
                "Leave one of the two out."
            )
            raise DeclarationError(msg)
        if len({type(one) for one in self.auth}) < len(self.auth):
            msg = (
                f"Endpoint.auth has {named}. Write each once: several keys stand in one Secret, "
                "separated by commas."
            )
            raise DeclarationError(msg)
        if self.rate_limit_per_minute is not None and self.keys is None:
            msg = (
                f"Endpoint.rate_limit_per_minute counts for each Bearer key, but auth is "
                f"{named or 'None'}. Write auth=BearerKeys(...), or [ProxyAuth(), BearerKeys(...)]."
            )
            raise DeclarationError(msg)

    @property
    def keys(self) -> BearerKeys | None:
        """The Bearer keys that modalkit asks for; ``None`` where it asks for none."""
        return next((one for one in self.auth if isinstance(one, BearerKeys)), None)

    @property
    def asks_proxy_tokens(self) -> bool:
        """Whether Modal asks for its tokens before a request reaches a container."""
        return any(isinstance(one, ProxyAuth) for one in self.auth)

    def to_modal(self) -> WebEndpointOptions:
        """Compile to keywords of ``modal.asgi_app``.

        Raises:
            DeclarationError: The kind is ``"server"``.
        """
        if self.kind != "web":
            msg = "Endpoint(kind='server').to_modal() has no ASGI app. Use to_modal_server()."
            raise DeclarationError(msg)
        options = WebEndpointOptions(requires_proxy_auth=self.asks_proxy_tokens)
        if self.label is not None:
            options["label"] = self.label
        return options

    def to_modal_server(self) -> ServerEndpointOptions:
        """Compile to the endpoint keywords of ``app.server``.

        ``unauthenticated`` is about Modal's edge alone: with ``BearerKeys`` and nothing else it is
        true, because the keys are asked for in the container.

        Raises:
            DeclarationError: The kind is ``"web"``.
        """
        if self.kind != "server":
            msg = "Endpoint(kind='web').to_modal_server() has no server. Use to_modal()."
            raise DeclarationError(msg)
        options = ServerEndpointOptions(port=self.port, unauthenticated=not self.asks_proxy_tokens)
        if self.routing_region is not None:
            options["routing_region"] = self.routing_region
        return options


def _check_path(path: str) -> None:
    if path == "/" or _PATH.fullmatch(path):
        return
    plain = re.sub(r"[?#].*", "", path)
    parts = [re.sub(r"[^\w.~-]+", "-", part, flags=re.ASCII) for part in plain.split("/")]
    nearest = "/" + "/".join(part for part in parts if part not in {"", ".", ".."})
    msg = f"Endpoint.path {path!r} is not a plain path. Write {nearest!r}."
    raise DeclarationError(msg)


def _check_label(label: str) -> None:
    if _LABEL.fullmatch(label):
        return
    nearest = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:63].strip("-")
    hint = f" Write {nearest!r}." if _LABEL.fullmatch(nearest) else ""
    msg = (
        f"Endpoint.label {label!r} cannot stand in a host name: 1 to 63 lower-case letters, digits "
        f"and inner '-', not digits alone.{hint}"
    )
    raise DeclarationError(msg)
