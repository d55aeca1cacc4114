"""One request to the engine of this container, while there is no event loop yet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple

from ..errors import EngineError
from .process import EngineProcess

__all__ = ["Answer", "Asker"]

_SHOWN = 300
_DEATH_S = 1.0  # an engine that dies closes its connections a moment before its end is known


class Answer(NamedTuple):
    """What came back."""

    status: int
    text: str

    def __str__(self) -> str:
        return f"{self.status}: {' '.join(self.text[:_SHOWN].split())}"


class Asker:
    """Asks one engine process on this machine.

    Args:
        process: The engine.
        port: Where it listens.
        model: The name it serves.
        headers: What modalkit's own requests to it carry.
    """

    def __init__(
        self, process: EngineProcess, port: int, model: str, headers: Mapping[str, str]
    ) -> None:
        self._process = process
        self._port = port
        self._model = model
        self._headers = {"Content-Type": "application/json", **headers}

    def post(self, path: str, body: Mapping[str, object], timeout_s: float) -> Answer:
        """Post a request and wait for the whole answer.

        Args:
            path: The route, its query included.
            body: Sent as JSON, with the model's name where it has none.
            timeout_s: Longest silence, in seconds.

        Raises:
            EngineExitedError: The engine has ended.
            EngineError: It closed the connection, or said nothing for ``timeout_s``.
        """
        text = json.dumps({"model": self._model, **body})
        connection = HTTPConnection("127.0.0.1", self._port, timeout=max(timeout_s, 0.1))
        try:
            connection.request("POST", path, text, self._headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode("utf-8", "replace"))
        except (OSError, HTTPException) as error:
            if not isinstance(error, TimeoutError) and self._process.ended_within(_DEATH_S):
                self._process.check()
            msg = (
                f"{self._process.title} did not answer POST {path}: {type(error).__name__} {error}"
            )
            raise EngineError(msg) from error
        finally:
            connection.close()
