"""Tell a webhook of failures: from a thread of its own, signed, tried again, and not too often."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import queue
import random
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from ...declare.webhook import FailureEvent, Webhook

__all__ = ["FailureReporter", "Storm", "signature"]

_WAITING = 100  # more than anyone reads; what comes when it is full is dropped
_TIMEOUT_S = 10.0
_FIRST_PAUSE_S = 0.5
_ATTEMPTS = 6  # half a second, then 1, 2, 4 and 8: a receiver may restart meanwhile


@dataclass(frozen=True, slots=True)
class _Letter:
    event: FailureEvent
    body: bytes
    message_id: str


class FailureReporter:
    """Sends what happens to a service's declared webhook.

    `tell` returns at once, whatever becomes of the receiver.

    Args:
        webhook: The declaration.
        service: The class it belongs to.
        environment: Where the address and the key of a Secret are.
        first_pause_s: Pause before the second attempt; each further one is twice as long.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        webhook: Webhook,
        service: str,
        environment: Mapping[str, str] = os.environ,
        *,
        first_pause_s: float = _FIRST_PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._webhook = webhook
        self._service = service
        self._url = webhook.url or environment.get(webhook.variable, "")
        self._key = environment.get(webhook.key_variable, "") if webhook.signed_with else ""
        self._first_pause_s = first_pause_s
        self._clock = clock
        self._letters: queue.Queue[_Letter] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._told_at: dict[FailureEvent, float] = {}
        self._untold: dict[FailureEvent, int] = {}
        self._lock = threading.Lock()

    def tell(self, event: FailureEvent, **facts: str | float) -> None:
        """Send an event, unless one of its kind was sent within the declared time.

        Args:
            event: What happened.
            facts: What is known of it; never a message of an exception, a prompt or a secret.
        """
        if event not in self._webhook.events or not self._may_tell(event):
            return
        body = json.dumps(self._body(event, facts)).encode()
        try:
            self._letters.put_nowait(_Letter(event, body, f"msg_{secrets.token_hex(12)}"))
        except queue.Full:
            return
        self._start()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything is sent or given up, for the end of a container that fails.

        Args:
            timeout_s: Longest wait in seconds.
        """
        deadline = time.monotonic() + timeout_s
        with self._letters.all_tasks_done:
            while self._letters.unfinished_tasks:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._letters.all_tasks_done.wait(left)
        return True

    def _may_tell(self, event: FailureEvent) -> bool:
        with self._lock:
            now = self._clock()
            if now - self._told_at.get(event, float("-inf")) < self._webhook.every_s:
                self._untold[event] = self._untold.get(event, 0) + 1
                return False
            self._told_at[event] = now
            return True

    def _body(self, event: FailureEvent, facts: Mapping[str, str | float]) -> dict[str, object]:
        since = self._untold.pop(event, 0)
        said = ", ".join(f"{name} {value}" for name, value in facts.items())
        return {
            "type": f"modalkit.{event}",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "text": f"{self._service}: {_WORDS[event]}" + (f" ({said})" if said else ""),
            "data": {
                "service": self._service,
                "container": os.environ.get("MODAL_TASK_ID", ""),
                "not_told_since_the_last": since,
                **facts,
            },
        }

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            letter = self._letters.get()
            try:
                self._deliver(letter)
            except Exception as error:  # noqa: BLE001 - the next letter must still go
                _say(f"{self._service}: the webhook failed: {type(error).__name__}.")
            finally:
                self._letters.task_done()

    def _deliver(self, letter: _Letter) -> None:
        pause_s, problem = self._first_pause_s, ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(pause_s * random.uniform(1, 1.25))  # noqa: S311 - spreads, hides nothing
                pause_s *= 2
            status = self._post(letter)
            if isinstance(status, str):
                problem = status
            elif status < HTTPStatus.MULTIPLE_CHOICES:
                return
            else:
                problem = f"it answered {status}"
                if status < HTTPStatus.INTERNAL_SERVER_ERROR and status != _TOO_MANY:
                    break  # it has understood, and does not want it
        _say(f"{self._service}: the webhook was not told of {letter.event!r}: {problem}.")

    def _post(self, letter: _Letter) -> int | str:
        """Send it once: the status, or what went wrong, without the address."""
        try:
            parts = urlsplit(self._url)
            make = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}
            line = make[parts.scheme](parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        except (KeyError, ValueError):
            return f"{self._webhook.variable} holds no address that begins with https://"
        try:
            target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
            line.request("POST", target, letter.body, self._headers(letter))
            status: int = line.getresponse().status
        except (OSError, ValueError, http.client.HTTPException) as error:
            return type(error).__name__
        else:
            return status
        finally:
            line.close()

    def _headers(self, letter: _Letter) -> dict[str, str]:
        now = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "user-agent": "modalkit-webhook/1",
            "webhook-id": letter.message_id,
            "webhook-timestamp": now,
        }
        if self._key:
            headers["webhook-signature"] = signature(self._key, letter.message_id, now, letter.body)
        return headers


class Storm:
    """Tells when calls fail often: so many within so many seconds.

    Args:
        reporter: Whom to tell.
        failures: How many.
        within_s: In how many seconds.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        reporter: FailureReporter,
        failures: int,
        within_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reporter = reporter
        self._within_s = within_s
        self._clock = clock
        self._times: deque[float] = deque(maxlen=failures)

    def failed(self, kind: str) -> None:
        """Count a failure.

        Args:
            kind: The error's class, or an HTTP status.
        """
        now = self._clock()
        self._times.append(now)
        span_s = now - self._times[0]
        if len(self._times) == self._times.maxlen and span_s <= self._within_s:
            self._reporter.tell(
                "failures", failures=len(self._times), within_s=round(span_s, 1), last_error=kind
            )


_TOO_MANY = HTTPStatus.TOO_MANY_REQUESTS
_WORDS: Mapping[FailureEvent, str] = {
    "start": "a container did not start",
    "engine_death": "the engine died while it served",
    "failures": "requests keep failing",
    "health": "the model does not pass its self-test",
}


def signature(key: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Sign a message as Standard Webhooks 1.0.0 has it, so that its verifiers take it.

    Args:
        key: The shared key; of one that begins with ``whsec_`` the rest is base64.
        message_id: The header ``webhook-id``.
        timestamp: The header ``webhook-timestamp``, in seconds.
        body: The body as it is sent.

    Examples:
        >>> signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
        'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    encoded = key.removeprefix("whsec_")
    raw = base64.b64decode(encoded) if encoded != key else key.encode()
    signed = hmac.new(raw, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
