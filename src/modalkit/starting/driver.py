"""``python -m modalkit.starting.driver FILE SERVICE RUNS``: start a service's container, again and again.

Runs where ``modalkit local`` points it. What the containers log, and when each was asked for, goes to
stdout; a line on stdin ends one start and begins the next.
"""

from __future__ import annotations

import sys
import threading
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from types import ModuleType
from typing import Any

import modal
import modal.exception

from ..compile import served_on
from ..discovery import run_file
from ..errors import DeclarationError, EngineRequestError, ModalkitError
from ..plan import ServicePlan
from .events import ASKED, FAILED, event_line

__all__ = ["app_of", "main"]

_PAUSE_S = 0.05
_ANSWER_S = 86_400


def main(arguments: list[str]) -> int:
    """Start a service as often as asked; the exit status."""
    file, name, runs = arguments
    try:
        module = run_file(file)
        app, plan = app_of(module, name)
    except ModalkitError as error:
        _say(event_line(FAILED, str(error)))
        return 1
    try:
        for _ in range(int(runs)):
            with modal.enable_output(), app.run():
                _say(event_line(ASKED, time.time()))
                seen = threading.Event()
                _trigger(getattr(module, name), plan, seen)
                sys.stdin.readline()
                seen.set()
    except modal.exception.Error as error:
        _say(event_line(FAILED, str(error)))
        return 1
    return 0


def app_of(module: ModuleType, name: str) -> tuple[modal.App, ServicePlan]:
    """Return the app that a module's service is on, and its plan.

    Raises:
        DeclarationError: It has no such service.
    """
    for app in vars(module).values():
        if isinstance(app, modal.App):
            for served in served_on(app):
                if served.plan.name == name:
                    return app, served.plan
    msg = f"{module.__file__} declares no service {name!r} on an app that it names."
    raise DeclarationError(msg)


def _trigger(handle: Any, plan: ServicePlan, seen: threading.Event) -> None:
    """Ask for a container in a way that says why there is none, where there is such a way."""
    endpoint = plan.endpoint
    serves = plan.engine is not None or bool(plan.routes)
    if endpoint is None or not serves or endpoint.asks_proxy_tokens:
        if plan.methods:
            ask = getattr(handle(), plan.methods[0])
            threading.Thread(target=_call, args=(ask, seen), daemon=True).start()
            return
        (handle if plan.is_server else handle()).update_autoscaler(min_containers=1)
        return
    url = handle.get_url() if plan.is_server else handle().http.get_web_url()
    path = endpoint.path.rstrip("/")
    knocks = threading.Thread(target=_knock, args=(f"{url}{path}/health", seen), daemon=True)
    knocks.start()


def _call(ask: Any, seen: threading.Event) -> None:
    """Call a method, which raises what ended a start; an engine that refuses the words has started."""
    try:
        ask.remote("hello")
    except EngineRequestError:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        if not seen.is_set():
            _say(event_line(FAILED, f"{type(error).__name__}: {error}"))


def _knock(url: str, seen: threading.Event) -> None:
    """Ask until a container answers, or cannot; what comes after its start was seen is no failure."""
    while not seen.is_set():
        try:
            urllib.request.urlopen(url, timeout=_ANSWER_S).close()  # noqa: S310 - the local Modal's own
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:  # a server without a container yet
                time.sleep(_PAUSE_S)
                continue
            if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR and not seen.is_set():
                said = error.read().decode("utf-8", "replace").strip()
                _say(event_line(FAILED, f"GET {url} was answered {error.code}: {said}"))
        except OSError as error:
            if seen.is_set():
                return
            _say(event_line(FAILED, f"GET {url} was not answered: {error}"))
        return


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
