"""How a service is reached over HTTP, and who may."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self, TypedDict
from urllib.parse import urlsplit

from pydantic import Field, Strict, model_validator

from ._names import check_region, is_variable_name
from ._values import Value, between
from .errors import DeclarationError
from .secrets import Secret, holds_credential

__all__ = [
    "CORS",
    "ApiKey",
    "CORSOptions",
    "Endpoint",
    "ProxyAuth",
    "ServerEndpointOptions",
    "WebEndpointOptions",
]

_DEFAULT_SECRET = "modalkit-api-key"  # noqa: S105 - the name of a Secret in Modal, not its value
_DEFAULT_VARIABLE = "MODALKIT_API_KEY"
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


class CORSOptions(TypedDict):
    """The keywords of Starlette's ``CORSMiddleware``."""

    allow_origins: list[str]
    allow_methods: list[str]
    allow_headers: list[str]
    allow_credentials: bool
    max_age: int


class ApiKey(Value):
    """A Bearer key that modalkit or the engine checks on every request.

    The client sends ``Authorization: Bearer KEY``, as every OpenAI client does with its
    ``api_key``. To change a key without an outage, store the old and the new one, separated by a
    comma, and drop the old one later. SGLang and vLLM know one key: behind ``kind="server"``, where
    they ask for it themselves, only the first counts.

    Args:
        secret: The Modal Secret that holds the key or keys. Default ``Secret("modalkit-api-key")``:
            create it once with ``modal secret create modalkit-api-key MODALKIT_API_KEY=...``.
        variable: The key of that Secret to read; it becomes a required key of the reference.
            Default ``"MODALKIT_API_KEY"``.

    Raises:
        DeclarationError: A variable that cannot be one.

    Examples:
        >>> ApiKey(Secret("team"), variable="CHAT_KEYS").secret.keys
        ('CHAT_KEYS',)
    """

    kind: Literal["api_key"] = "api_key"
    secret: Secret
    variable: str = _DEFAULT_VARIABLE

    def __init__(
        self,
        secret: Secret | None = None,
        *,
        variable: str = _DEFAULT_VARIABLE,
        kind: Literal["api_key"] = "api_key",
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
        )


class Endpoint(Value):
    """The HTTP side of a service; it asks for a key unless it says ``public=True``.

    Args:
        path: Where the routes begin, such as ``"/"`` or ``"/chat"``. Default ``"/"``.
        kind: ``"web"``: an ASGI app beside the remote methods. ``"server"``: Modal's low-latency
            servers, where requests reach the engine's port directly and nothing else can be called.
            Whoever holds the key of an engine's own server also reaches the engine's
            administration routes. Default ``"web"``.
        auth: ``ApiKey(...)`` or ``ProxyAuth()``. Default ``ApiKey()``.
        public: Anyone on the internet may call it. The only way to have no ``auth``. Default false.
        cors: ``CORS(...)`` for calls from web pages. Default: none.
        label: First part of the host name on modal.run; only for ``"web"``. Default: Modal's, from
            the app and class names.
        port: TCP port the engine listens on in the container. Default 8000.
        routing_region: Region through which Modal routes the requests. For ``"web"`` it belongs to
            ``app.cls``, not to ``to_modal()``. Default: Modal's, ``us-east``.
        docs: Serve ``/docs`` and ``/openapi.json`` of a custom service. Default true.

    Raises:
        DeclarationError: ``public=True`` with an ``auth``; a field the kind does not have; a path or
            label that cannot be one.

    Examples:
        >>> Endpoint().auth.variable
        'MODALKIT_API_KEY'
        >>> Endpoint(kind="server", auth=ProxyAuth()).to_modal_server()
        {'port': 8000, 'unauthenticated': False}
        >>> Endpoint(public=True, auth=ProxyAuth())
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Endpoint(public=True) is open to everyone, but auth is ProxyAuth(). Leave one of the two out.
    """

    path: str = "/"
    kind: Literal["web", "server"] = "web"
    auth: Annotated[ApiKey | ProxyAuth, Field(discriminator="kind")] | None
    public: Annotated[bool, Strict()] = False
    cors: CORS | None = None
    label: str | None = None
    port: Annotated[int, Strict(), between(1, 65_535)] = 8000
    routing_region: str | None = None
    docs: Annotated[bool, Strict()] = True

    def __init__(
        self,
        path: str = "/",
        *,
        kind: Literal["web", "server"] = "web",
        auth: ApiKey | ProxyAuth | None = None,
        public: bool = False,
        cors: CORS | None = None,
        label: str | None = None,
        port: int = 8000,
        routing_region: str | None = None,
        docs: bool = True,
    ) -> None:
        _check_auth(auth)
        super().__init__(
            path=path,
            kind=kind,
            auth=ApiKey() if auth is None and public is not True else auth,
            public=public,
            cors=cors,
            label=label,
            port=port,
            routing_region=routing_region,
            docs=docs,
        )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.auth is None and not self.public:
            msg = "Endpoint has neither auth nor public=True. Write auth=ApiKey(), or public=True."
            raise DeclarationError(msg)
        if self.public and self.auth is not None:
            msg = (
                f"Endpoint(public=True) is open to everyone, but auth is "
                f"{type(self.auth).__name__}(). Leave one of the two out."
            )
            raise DeclarationError(msg)
        _check_path(self.path)
        if self.label is not None:
            _check_label(self.label)
        if self.routing_region is not None:
            check_region("Endpoint.routing_region", self.routing_region)
        if self.kind == "server" and self.label is not None:
            msg = "Endpoint(kind='server').label has no effect. Leave it out, or write kind='web'."
            raise DeclarationError(msg)
        return self

    @property
    def api_key(self) -> ApiKey | None:
        """The key that modalkit or the engine asks for; ``None`` where neither does."""
        return self.auth if isinstance(self.auth, ApiKey) else None

    def to_modal(self) -> WebEndpointOptions:
        """Compile to keywords of ``modal.asgi_app``.

        Raises:
            DeclarationError: The kind is ``"server"``.
        """
        if self.kind != "web":
            msg = "Endpoint(kind='server').to_modal() has no ASGI app. Use to_modal_server()."
            raise DeclarationError(msg)
        options = WebEndpointOptions(requires_proxy_auth=isinstance(self.auth, ProxyAuth))
        if self.label is not None:
            options["label"] = self.label
        return options

    def to_modal_server(self) -> ServerEndpointOptions:
        """Compile to the endpoint keywords of ``app.server``.

        ``unauthenticated`` is about Modal's edge alone: with an ``ApiKey`` it is true, because the
        engine asks for the key itself.

        Raises:
            DeclarationError: The kind is ``"web"``.
        """
        if self.kind != "server":
            msg = "Endpoint(kind='web').to_modal_server() has no server. Use to_modal()."
            raise DeclarationError(msg)
        options = ServerEndpointOptions(
            port=self.port, unauthenticated=not isinstance(self.auth, ProxyAuth)
        )
        if self.routing_region is not None:
            options["routing_region"] = self.routing_region
        return options


def _check_variable(variable: object) -> None:
    if isinstance(variable, str) and is_variable_name(variable) and not holds_credential(variable):
        return
    # Not shown: someone may have written the key itself here.
    msg = (
        "ApiKey.variable is not the name of an environment variable (letters, digits and '_'). "
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
        msg = f'ApiKey.secret must be a Secret, got {type(secret).__name__}. Write ApiKey(Secret("NAME")).'
        raise DeclarationError(msg)
    return secret


def _check_auth(auth: object) -> None:
    if auth is None or isinstance(auth, ApiKey | ProxyAuth | Mapping):
        return
    # Its type alone: someone may have pasted the key itself.
    msg = f"Endpoint.auth must be ApiKey(...) or ProxyAuth(), got {type(auth).__name__}. Write ApiKey(Secret('NAME'))."
    raise DeclarationError(msg)


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
