"""Opening the URLs of web functions and servers, the same ones from run to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..apps.deployments import wanted_endpoints
from ..apps.functions import Endpoint, FunctionEntry
from ..calls.calls import Calls
from ..protocol import api, serves_http
from ..settings import Settings
from ..wire.ports import preferred_port
from ..wire.proxy_auth import ProxyAuth
from .endpoints import WebEndpoint
from .replicas import ServerEndpoint

__all__ = ["Gateways"]


@dataclass(frozen=True, slots=True)
class Gateways:
    """Opens endpoints.

    Attributes:
        blob_path: Where a large message's bytes are.
        notice: Tells the user something, once.
    """

    calls: Calls
    auth: ProxyAuth
    blob_path: Callable[[str], Path]
    settings: Settings
    notice: Callable[[str], None]

    async def open(self, function: FunctionEntry, definition: api.Function) -> None:
        """Open the ports that a function needs with a definition and that are not open yet."""
        for method in wanted_endpoints(definition):
            await self._close_of_other_kind(function, definition, method)
            if method not in function.endpoints:
                hook = _webhook(definition, method)
                endpoint = self._make(function, definition, method, hook.requested_suffix)
                await endpoint.open()
                function.endpoints[method] = endpoint
                self._mention_domains(hook, endpoint)

    @staticmethod
    async def _close_of_other_kind(
        function: FunctionEntry, definition: api.Function, method: str
    ) -> None:
        """Make room where a web function became a server, or the other way round.

        A definition that is not in force yet leaves the endpoint to the one that is.
        """
        is_server = serves_http(definition)
        endpoint = function.endpoints.get(method)
        if endpoint is None or isinstance(endpoint, ServerEndpoint) == is_server:
            return
        if serves_http(function.definition) == is_server:
            await function.endpoints.pop(method).close()

    def _make(
        self, function: FunctionEntry, definition: api.Function, method: str, label: str
    ) -> ServerEndpoint | WebEndpoint:
        app = function.app
        sock = preferred_port(
            f"{app.environment}/{label or f'{app.label}/{function.tag}/{method}'}"
        )
        if serves_http(definition):
            return ServerEndpoint(function, self.auth, sock)
        patience_s = self.settings.response_wait_s
        return WebEndpoint(
            function, method, self.calls, self.auth, self.blob_path, sock, patience_s
        )

    def _mention_domains(self, hook: api.WebhookConfig, endpoint: Endpoint) -> None:
        if names := ", ".join(repr(domain.name) for domain in hook.custom_domains):
            self.notice(f"custom domains are not served here: {names} is {endpoint.url}")


def _webhook(definition: api.Function, method: str) -> api.WebhookConfig:
    methods = definition.method_definitions
    hook: api.WebhookConfig = (
        methods[method].webhook_config if method else definition.webhook_config
    )
    return hook
