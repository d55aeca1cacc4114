"""``python -m modalkit.bench.serving_driver FILE SERVICE``: serve until stdin ends.

Runs where ``modalkit local`` points it. It tells the address, and the local Modal's own tokens where the
service asks for these, in one line on stdout: a pipe to the process that started it.
"""

from __future__ import annotations

import json
import os
import sys

import modal
import modal.exception

from ..discovery import run_file
from ..errors import ModalkitError
from ..plan import ServicePlan
from ..starting.driver import app_of

__all__ = ["FAILED", "SERVING", "main"]

SERVING = "modalkit.serving"
FAILED = "modalkit.not_served"


def main(arguments: list[str]) -> int:
    """Serve; the exit status."""
    file, name = arguments
    try:
        module = run_file(file)
        app, plan = app_of(module, name)
        with modal.enable_output(), app.run():
            _say(
                {
                    "event": SERVING,
                    "url": _url(getattr(module, name), plan),
                    "headers": _tokens(plan),
                }
            )
            sys.stdin.read()
    except (ModalkitError, modal.exception.Error) as error:
        _say({"event": FAILED, "reason": str(error)})
        return 1
    return 0


def _url(handle: object, plan: ServicePlan) -> str:
    assert plan.endpoint is not None  # noqa: S101 - who asks has looked
    base = handle.get_url() if plan.is_server else handle().http.get_web_url()  # type: ignore[attr-defined, operator]  # a class or server of Modal
    return f"{base}{plan.endpoint.path.rstrip('/')}"


def _tokens(plan: ServicePlan) -> dict[str, str]:
    if plan.endpoint is None or not plan.endpoint.asks_proxy_tokens:
        return {}
    return {
        "Modal-Key": os.environ["MODALKIT_PROXY_KEY"],
        "Modal-Secret": os.environ["MODALKIT_PROXY_SECRET"],
    }


def _say(event: dict[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(event)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
