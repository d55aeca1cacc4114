"""What a container gives its engine so that nobody reaches it but through the door."""

from __future__ import annotations

import http.client
import os
import secrets
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from ..declare.endpoints import Endpoint
from ..engines.base import Engine
from ..errors import EngineError
from .keys import KeyRing, keys_from_environment

if TYPE_CHECKING:
    from .door.settings import EngineRequest

__all__ = ["Handover", "handover", "requests_of"]

_NOT_FOR_CLIENTS = "/modalkit-is-this-door-shut"
_TIMEOUT_S = 30
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, repr=False)
class Handover:
    """One start of an engine.

    Attributes:
        environment: Variables for its process.
        hidden: Values that must not be printed.
        headers: What modalkit's own requests to it carry.
        door: Whether the door stands in its process, where nobody passes without a key.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    door: bool = False

    @property
    def client_headers(self) -> Mapping[str, str]:
        """What is sent with clients' requests, which never carry a key that opens more."""
        return self.headers if self.door else {}

    def try_door(self, title: str, port: int) -> None:
        """Knock as a stranger at a route that is nobody's.

        Raises:
            EngineError: It was not the door that answered.
        """
        if not self.door:
            return
        knock = uuid.uuid4().hex
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        try:
            line.request("GET", _NOT_FOR_CLIENTS, headers={"x-request-id": knock})
            answer = line.getresponse()
        finally:
            line.close()
        refused = answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED}
        if not refused or answer.getheader("x-request-id") != knock:
            msg = (
                f"{title} answers on port {port} without modalkit's door in front of it, so its "
                "administration would be open. Take back what starts its server in another way "
                "(several tokenizer workers, another front end), or write Endpoint(kind='web')."
            )
            raise EngineError(msg)


def requests_of(engine: Engine, model: str) -> tuple[EngineRequest, ...]:
    """Return the small requests that an engine may be asked, each a route and a body."""
    return tuple((path, {"model": model, **body}) for path, body in engine.warm_up_requests())


def handover(
    engine: Engine, endpoint: Endpoint | None, service: str = "", served_name: str = ""
) -> Handover:
    """Make the keys and settings of one start.

    The clients' keys stay in this process: the engine's gets their digests, and only where requests
    reach it directly.

    Args:
        engine: The engine.
        endpoint: Who may reach it.
        service: The class it serves, for what its process tells of itself.
        served_name: The model's name for clients.

    Raises:
        DeclarationError: The variable that should hold the clients' keys is empty.
    """
    variable = endpoint.keys.variable if endpoint and endpoint.keys else None
    clients = keys_from_environment(variable)
    if endpoint is not None and endpoint.kind == "server":
        ring = KeyRing.of(clients) if variable else None
        made = _with_its_own_door(engine, endpoint, ring, service, served_name)
    else:
        made = _behind_the_gateway(engine)
    emptied = {variable: ""} if variable else {}
    return replace(
        made, environment={**emptied, **made.environment}, hidden=(*clients, *made.hidden)
    )


def _with_its_own_door(
    engine: Engine, endpoint: Endpoint, clients: KeyRing | None, service: str, served_name: str
) -> Handover:
    """Requests reach the engine directly: the door is in its process, with a key of its own."""
    from .door.settings import DOOR_VARIABLE, DoorSettings  # noqa: PLC0415 - brings a web framework

    told = DoorSettings.made(
        endpoint,
        engine.client_routes,
        clients,
        service=service,
        requests=requests_of(engine, served_name),
    )
    environment = {DOOR_VARIABLE: told.model_dump_json(), **_finding_modalkit()}
    if engine.child_key_variable:
        environment[engine.child_key_variable] = told.engine_key
    inner = (told.engine_key, told.admin_key)
    return Handover(environment, inner, _bearer(told.admin_key), door=True)


def _behind_the_gateway(engine: Engine) -> Handover:
    """The door is elsewhere; processes of another user order the engine about no more than clients do."""
    if engine.admin_key_variable is None:
        return Handover()
    key = secrets.token_hex(32)
    return Handover({engine.admin_key_variable: key, **_finding_modalkit()}, (key,), _bearer(key))


def _bearer(key: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _finding_modalkit() -> dict[str, str]:
    return {"PYTHONPATH": _with_modalkit(os.environ.get("PYTHONPATH", ""))}


def _with_modalkit(search_path: str) -> str:
    """A Python of the engine's own finds the door where this one did, and nothing else of it."""
    folders = [folder for folder in search_path.split(os.pathsep) if folder]
    home = str(_PACKAGE.parent)
    if home in folders:
        return search_path
    if _PACKAGE.parent.name in {"site-packages", "dist-packages"}:
        home = tempfile.mkdtemp(
            prefix="modalkit-door-"
        )  # this Python's packages are not for another
        (Path(home) / _PACKAGE.name).symlink_to(_PACKAGE)
    return os.pathsep.join([*folders, home])
