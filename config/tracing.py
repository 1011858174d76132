"""Traces over OpenTelemetry, from the request through Celery to PostgreSQL. Off unless ENSO_TRACES says so.

Nothing here is imported while it is off, and its packages (requirements/tracing.lock) need not be there. Where spans go and
how many are kept is said by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER …). Statements are
recorded as they are prepared, never with their values. What the hot paths write in groups over connections of their own
(feedback/group_commit.py) belongs to many requests at once and has no span.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.signals import before_task_publish, task_failure, task_postrun, task_prerun, worker_process_init
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse

from feedback.problems import request_id

try:
    from opentelemetry import context, propagate, trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanProcessor
except ImportError as error:
    raise ImproperlyConfigured(
        "ENSO_TRACES is on and its packages are missing: pip install -r requirements/tracing.lock"
    ) from error

NAME = "enso"
MOST_OF_A_STATEMENT = 1_000
Handler = Callable[[HttpRequest], HttpResponse]
_provider: list[TracerProvider] = []


def begin(*, processor: SpanProcessor | None = None) -> None:
    """Start once per process; a Celery worker's children start their own, for threads do not survive a fork."""
    if not _provider:
        _connect()
        worker_process_init.connect(lambda **kwargs: _provide(processor), weak=False)
    _provide(processor)


def _provide(processor: SpanProcessor | None) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": NAME}))
    provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
    _provider[:] = [provider]


def tracer() -> trace.Tracer:
    return _provider[0].get_tracer(NAME)


class Traced:
    """A span per request, a child of the caller's where it sent a traceparent."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        parent = propagate.extract({k.lower(): v for k, v in request.headers.items()})
        with tracer().start_as_current_span(f"{request.method}", context=parent, kind=trace.SpanKind.SERVER) as span:
            response = self.get_response(request)
            match = getattr(request, "resolver_match", None)
            name = match.route if match else "unmatched"
            span.update_name(f"{request.method} {name}")
            span.set_attributes(
                {
                    "http.request.method": str(request.method), "http.route": name,
                    "http.response.status_code": response.status_code, "enso.request_id": request_id(request),
                }
            )  # fmt: skip
            if response.status_code >= 500:
                span.set_status(trace.StatusCode.ERROR)
        return response


def _connect() -> None:
    before_task_publish.connect(published, weak=False)
    task_prerun.connect(started, weak=False)
    task_postrun.connect(ended, weak=False)
    task_failure.connect(failed, weak=False)
    connection_created.connect(connected, weak=False)


def published(headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    """The message names the span that it was sent in."""
    if headers is not None:
        propagate.inject(headers)


def started(task: Any = None, **kwargs: Any) -> None:
    carried = {k: v for k in ("traceparent", "tracestate") if (v := _header(task.request, k))}
    span = tracer().start_span(f"task {task.name}", propagate.extract(carried), kind=trace.SpanKind.CONSUMER)
    task.request.enso_span = (span, context.attach(trace.set_span_in_context(span)))


def _header(request: Any, name: str) -> Any:
    return getattr(request, name, None) or (getattr(request, "headers", None) or {}).get(name)


def ended(task: Any = None, **kwargs: Any) -> None:
    span, token = task.request.__dict__.pop("enso_span", (None, None))
    if span is not None:
        context.detach(token)
        span.end()


def failed(sender: Any = None, exception: BaseException | None = None, **kwargs: Any) -> None:
    span = trace.get_current_span()
    span.set_status(trace.StatusCode.ERROR, type(exception).__name__)


def connected(connection: Any = None, **kwargs: Any) -> None:
    if statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(statement)


def statement(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """A span per statement, where something is being traced: beat's own polling would drown it."""
    if not trace.get_current_span().get_span_context().is_valid:
        return execute(sql, params, many, context)
    said = str(sql)
    with tracer().start_as_current_span(said.split(None, 1)[0].upper(), kind=trace.SpanKind.CLIENT) as span:
        span.set_attributes({"db.system.name": "postgresql", "db.query.text": said[:MOST_OF_A_STATEMENT]})
        return execute(sql, params, many, context)
