"""The failure hook against a real receiver: signed, tried again, limited, and in nobody's way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import time

import pytest

from modalkit import Secret, Webhook
from modalkit.errors import DeclarationError
from modalkit.runtime.observe.failures import FailureReporter, Storm

KEY = "whsec_" + base64.b64encode(b"a key of thirty-two bytes or so.").decode()
QUICK_S = 0.01  # the pause before a second attempt


def reporter(webhook, **environment):
    return FailureReporter(webhook, "Chat", environment, first_pause_s=QUICK_S)


def verified(headers, body) -> bool:
    """Check a signature as a receiver does that has read Standard Webhooks."""
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(KEY.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 300
    return hmac.compare_digest(headers["webhook-signature"], f"v1,{expected}")


def test_a_message_says_what_happened_and_is_signed(receiver):
    """It names event, service and figures, and its signature is the one a verifier computes."""
    one = reporter(
        Webhook(Secret("alerts"), signed_with=Secret("alerts")),
        MODALKIT_WEBHOOK_URL=f"{receiver.url}/hook?team=7",
        MODALKIT_WEBHOOK_KEY=KEY,
    )
    one.tell("engine_death", returncode=-9)
    assert one.drain(60)
    ((path, headers, body),) = receiver.taken
    (event,) = receiver.events
    assert path == "/hook?team=7"
    assert verified(headers, body)
    assert event["type"] == "modalkit.engine_death"
    assert event["data"]["service"] == "Chat"
    assert event["data"]["returncode"] == -9
    assert event["text"] == "Chat: the engine died while it served (returncode -9)"


def test_without_a_key_nothing_claims_to_be_signed(receiver):
    """An unsigned message has no signature header."""
    one = reporter(Webhook(f"{receiver.url}/hook"))
    one.tell("start", error="OSError")
    assert one.drain(60)
    assert "webhook-signature" not in receiver.taken[0][1]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_receiver_in_trouble_is_told_again(receiver, status):
    """A server error or a full receiver is tried again, with the same message id."""
    receiver.statuses = [status, status]
    one = reporter(Webhook(receiver.url))
    one.tell("start", error="OSError")
    assert one.drain(60)
    assert len(receiver.taken) == 3
    assert len({headers["webhook-id"] for _, headers, _ in receiver.taken}) == 1


def test_a_receiver_that_refuses_is_not_asked_again(receiver, capsys):
    """A 404 is an answer; the log has it, without the address."""
    receiver.statuses = [404]
    one = reporter(Webhook(receiver.url))
    one.tell("start", error="OSError")
    assert one.drain(60)
    assert len(receiver.taken) == 1
    said = capsys.readouterr().err
    assert "was not told of 'start': it answered 404" in said
    assert receiver.url not in said


def test_a_dead_receiver_stops_nobody(capsys):
    """Telling returns at once while nobody listens, and the log says that it was in vain."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    one = reporter(Webhook(address, every_s=1))
    one.tell("start", error="OSError")
    assert one.drain(60)
    assert "was not told of 'start': ConnectionRefusedError" in capsys.readouterr().err


def test_a_receiver_that_never_answers_stops_nobody():
    """A connection that is taken and never answered holds the thread, not who tells."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = reporter(Webhook(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        for _ in range(500):
            one.tell("start", error="OSError")
        assert not one.drain(0.05)


def test_one_kind_of_event_is_told_once_in_a_while(receiver):
    """What comes too soon is counted, and the next message says how much that was."""
    now = [0.0]
    one = FailureReporter(
        Webhook(receiver.url, every_s=60), "Chat", {}, first_pause_s=QUICK_S, clock=lambda: now[0]
    )
    for _ in range(5):
        one.tell("failures", failures=10)
    one.tell("health")  # another kind
    now[0] = 61.0
    one.tell("failures", failures=10)
    assert one.drain(60)
    told = [(event["type"], event["data"]["not_told_since_the_last"]) for event in receiver.events]
    assert told == [
        ("modalkit.failures", 0), ("modalkit.health", 0), ("modalkit.failures", 4)
    ]  # fmt: skip


def test_only_declared_events_are_told(receiver):
    """An event that is not asked for is not sent."""
    one = reporter(Webhook(receiver.url, events=["start"]))
    one.tell("engine_death", returncode=1)
    one.tell("start", error="OSError")
    assert one.drain(60)
    assert [event["type"] for event in receiver.events] == ["modalkit.start"]


def test_a_storm_is_so_many_failures_in_so_many_seconds(receiver):
    """Failures far apart are no storm; as many close together are."""
    now = [0.0]
    one = FailureReporter(Webhook(receiver.url), "Chat", {}, clock=lambda: now[0])
    storm = Storm(one, 3, 10.0, clock=lambda: now[0])
    for when in (0, 8, 16, 24):
        now[0] = when
        storm.failed("OSError")
    assert one.drain(60)
    assert receiver.taken == []
    for when in (25, 26):
        now[0] = when
        storm.failed("ValueError")
    assert one.drain(60)
    (event,) = receiver.events
    assert event["data"]["failures"] == 3
    assert event["data"]["last_error"] == "ValueError"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("example.com/hook", "Write 'https://example.com/hook'"),
        ("http://example.com/hook", "Write 'https://example.com/hook'"),
        ("ftp://example.com", "begins with https://"),
        (7, "must be an address or a Secret, got int"),
        (None, "is missing"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(address, said):
    """What is not https, or no address at all, is refused where it is written."""
    with pytest.raises(DeclarationError, match=r"Webhook\.to") as caught:
        Webhook(address)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.slack.com/services/T000/B000/XXXXXXXX",
        "https://user:password@example.com/hook",
        "https://example.com/hook?key=sk-proj-0123456789abcdef",
    ],
)
def test_an_address_that_is_a_credential_is_refused_and_not_shown(address):
    """Whoever has such an address can post to it, so it belongs in a Secret and in no message."""
    with pytest.raises(DeclarationError, match="itself a credential") as caught:
        Webhook(address)
    assert address not in str(caught.value)


def test_a_webhook_survives_json():
    """A plan is plain data: what is read back is what was declared."""
    one = Webhook(Secret("alerts"), signed_with=Secret("keys"), failures=3, events=["start"])
    assert Webhook.model_validate_json(one.model_dump_json()) == one
    assert Webhook("https://example.com/x").target == "example.com"
