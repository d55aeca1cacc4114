"""``examples/observed.py`` on a local Modal: two services in one trace, and whom they tell."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from modalkit.testing.local_modal import LocalModalFixture
from modalkit.testing.process import PlaneProcess

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EXAMPLE = Path(__file__).parents[2] / "examples" / "observed.py"
PATIENCE_S = 300  # a deadline against hangs, never a measurement

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outside(receiving):
    """The collector and the receiver of alerts, which are one server."""
    one = receiving()
    yield one
    one.close()


@pytest.fixture(scope="module")
def url(outside, tmp_path_factory):
    """Where the deployed example answers."""
    process = PlaneProcess.start(tmp_path_factory.mktemp("state"), namespaces=False)
    try:
        with process.as_environment():
            local = LocalModalFixture(process.exports, process.dashboard)
            secrets = {
                "otel": f"OTEL_EXPORTER_OTLP_ENDPOINT={outside.url}",
                "alerts": f"MODALKIT_WEBHOOK_URL={outside.url}/hook",
            }
            for name, pair in secrets.items():
                local.command("modal", "secret", "create", name, pair)
            local.command("modal", "deploy", str(EXAMPLE))
            yield local.url("observed", "Reviews.http")
            local.close()
    finally:
        process.stop()


def spans_of(outside) -> dict[str, object]:
    """Spans of both services by their service and name."""
    found = {}
    for path, headers, body in list(outside.taken):
        if path != "/v1/traces":
            continue
        raw = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        for resource in ExportTraceServiceRequest.FromString(raw).resource_spans:
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                found |= {(named["service.name"], span.name): span for span in scope.spans}
    return found


def test_a_request_crosses_two_services_in_one_trace(url, outside, eventually):
    """From HTTP through one container and `.remote` into another: one trace, parent by parent."""
    answer = httpx.post(f"{url}/review", json={"text": "word " * 20}, timeout=PATIENCE_S)
    assert answer.json() == "good"
    wanted = {
        ("Reviews", "POST /review"),
        ("Reviews", "Reviews.review"),
        ("Scores", "Scores.score"),
    }
    assert eventually(lambda: wanted <= spans_of(outside).keys())
    found = spans_of(outside)
    request, review = found["Reviews", "POST /review"], found["Reviews", "Reviews.review"]
    score = found["Scores", "Scores.score"]
    assert review.parent_span_id == request.span_id
    assert score.parent_span_id == review.span_id
    assert len({span.trace_id for span in (request, review, score)}) == 1


def test_health_and_metrics_are_there(url):
    """The self-test passes, and Prometheus reads what was counted."""
    assert httpx.get(f"{url}/health", timeout=PATIENCE_S).json() == {"status": "ok"}
    page = httpx.get(f"{url}/metrics", timeout=PATIENCE_S).text
    names = {family.name for family in text_string_to_metric_families(page)}
    assert {"modalkit_http_requests", "modalkit_calls", "modalkit_model_seconds"} <= names


def test_requests_that_keep_failing_are_told(url, outside, eventually):
    """The service whose method fails tells; so may the one that asked it."""
    for _ in range(3):
        answer = httpx.post(f"{url}/review", json={"text": ""}, timeout=PATIENCE_S)
        assert answer.status_code == 500
    hooks = lambda: [body for path, _, body in list(outside.taken) if path == "/hook"]  # noqa: E731
    assert eventually(lambda: any(b'"service": "Scores"' in body for body in hooks()))
