"""OpenTelemetry traces: on where the standard ``OTEL_*`` variables name a collector, else nothing.

OpenTelemetry is imported only then. W3C's ``traceparent`` is taken from a request and handed on;
spans go to the collector over OTLP/HTTP from a thread of OpenTelemetry's own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...declare.tracing import COLLECTOR_VARIABLES
from ...errors import MissingExtraError
from ..deadlines import cause

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, Tracer

    from ..door.visit import Visit
    from .http_metrics import RouteNames

__all__ = ["HTTPTraces", "Tracing", "tracing_is_on"]

_FLUSH_MS = 5000


def tracing_is_on(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the variables name a collector and do not switch traces off."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp")
    return (
        not off
        and exporter == "otlp"
        and any(environment.get(name) for name in COLLECTOR_VARIABLES)
    )


class Tracing:
    """Makes the spans of one service in this process.

    Args:
        service: Its name, unless ``OTEL_SERVICE_NAME`` says another.

    Raises:
        ImportError: OpenTelemetry is not installed.
    """

    def __init__(self, service: str) -> None:
        from opentelemetry import context, propagate, trace  # noqa: PLC0415 - only where it is on

        _set_provider(service)
        self._context, self._propagate, self._trace = context, propagate, trace
        self._tracer: Tracer = trace.get_tracer("modalkit")
        # What spans measure runs on the clock that never goes back; they are told in the other.
        self._offset_s = time.time() - time.monotonic()

    @classmethod
    def of_this_process(cls, service: str) -> Tracing | None:
        """Traces where they are asked for; a process that cannot make them says so, and serves."""
        if not tracing_is_on():
            return None
        try:
            return cls(service)
        except ImportError:
            missing = MissingExtraError(
                "Tracing, which OTEL_EXPORTER_OTLP_ENDPOINT asks for,", "otel"
            )
            sys.stderr.write(f"{missing} This process goes on without traces.\n")
            return None

    def incoming(self, headers: Mapping[str, str]) -> Context:
        """The context that a request came with; a new one where it has none."""
        return self._propagate.extract(dict(headers))

    def outgoing(self) -> dict[str, str]:
        """Headers that hand the current context on."""
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier)
        return carrier

    def begin(self, name: str, kind: str, context: Context | None, **attributes: object) -> Span:
        """Begin a span that is not the current one; end it by hand."""
        return self._tracer.start_span(
            name, context, self._kind(kind), {key: str(value) for key, value in attributes.items()}
        )

    def enter(self, span: Span) -> object:
        """Make a span the current one; `leave` takes what is returned."""
        return self._context.attach(self._trace.set_span_in_context(span))

    def leave(self, token: Any) -> None:
        """Let the span that was current before be it again."""
        self._context.detach(token)

    @contextmanager
    def belonging_to(self, carrier: Mapping[str, str]) -> Iterator[None]:
        """Let what a block begins belong to the trace that came in these headers."""
        token = self._context.attach(self.incoming(carrier))
        try:
            yield
        finally:
            self._context.detach(token)

    @contextmanager
    def span(self, name: str, kind: str = "INTERNAL") -> Iterator[Span]:
        """A span around a block; an exception that leaves it is its error.

        Args:
            name: What is done; few different ones.
            kind: OpenTelemetry's word for which side it is on.
        """
        # The message of an exception may hold what was asked; its class is enough here.
        with self._tracer.start_as_current_span(
            name, kind=self._kind(kind), record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                self.fail(span, cause(error).__name__)
                raise

    def past(self, name: str, began: float, ended: float, **attributes: int | str) -> None:
        """Tell of something that is over, as a child of the current span.

        Args:
            name: What it was.
            began: When, on the clock of ``time.monotonic()``.
            ended: When it ended.
            attributes: What to say of it.
        """
        span = self._tracer.start_span(name, attributes=attributes, start_time=self._wall_ns(began))
        span.end(self._wall_ns(ended))

    def fail(self, span: Span, kind: str) -> None:
        """Mark a span as an error of this kind."""
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, kind))
        span.set_attribute("error.type", kind)

    def flush(self) -> None:
        """Send what has been told so far; for the end of a container."""
        provider = self._trace.get_tracer_provider()
        if hasattr(provider, "force_flush"):
            provider.force_flush(_FLUSH_MS)

    def _kind(self, name: str) -> SpanKind:
        kind: SpanKind = getattr(self._trace.SpanKind, name)
        return kind

    def _wall_ns(self, monotonic_s: float) -> int:
        return int((monotonic_s + self._offset_s) * 1e9)


def _set_provider(service: str) -> None:
    """Let OpenTelemetry's SDK send spans, unless whoever came first has set it up otherwise."""
    from opentelemetry import trace  # noqa: PLC0415 - only where it is on
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    # The SDK reads the other variables itself; its own name for a service would be the program's.
    named = {"service.name": os.environ.get("OTEL_SERVICE_NAME", service)}
    instance = os.environ.get("MODAL_TASK_ID")
    provider = TracerProvider(
        resource=Resource.create(named | ({"service.instance.id": instance} if instance else {}))
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


class HTTPTraces:
    """A span for each HTTP request, whose context goes on with it.

    Args:
        tracing: Makes the spans.
        names: What paths are called.
    """

    def __init__(self, tracing: Tracing, names: RouteNames) -> None:
        self._tracing = tracing
        self._names = names
        self._open: dict[int, tuple[Span, object]] = {}

    def arrived(self, visit: Visit) -> None:
        """Begin its span, as a child of what it came with."""
        context = self._tracing.incoming(visit.headers)
        span = self._tracing.begin(visit.method, "SERVER", context)
        self._open[id(visit)] = (span, self._tracing.enter(span))
        visit.trace_id = format(span.get_span_context().trace_id, "032x")
        for name, value in self._tracing.outgoing().items():
            visit.forward(name.encode(), value.encode())

    def left(self, visit: Visit) -> None:
        """End its span, with what came of it."""
        span, token = self._open.pop(id(visit))
        self._tracing.leave(token)
        route = self._names.name(visit)
        span.update_name(f"{visit.method} {route}")
        span.set_attribute("http.request.method", visit.method)
        span.set_attribute("http.route", route)
        span.set_attribute("modalkit.request_id", visit.request_id.decode("ascii"))
        if visit.status:
            span.set_attribute("http.response.status_code", visit.status)
        if visit.failed:
            self._tracing.fail(span, visit.outcome or str(visit.status))
        span.end()
