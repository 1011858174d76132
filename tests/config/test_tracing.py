"""Traces: nothing of them is there while they are off; on, one trace goes from the request over its job to its statements."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from feedback import jobs
from feedback.tasks import run_job


def test_they_are_off_by_default_and_then_not_even_imported():
    assert settings.ENSO_TRACES is False
    assert "config.tracing.Traced" not in settings.MIDDLEWARE
    assert "config.tracing" not in sys.modules or "opentelemetry.sdk" in sys.modules


def test_without_their_packages_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "config.tracing", raising=False)
    with pytest.raises(ImproperlyConfigured, match=r"requirements/tracing\.lock"):
        import config.tracing  # noqa: F401


@pytest.fixture
def spans():
    """Finished spans of this test, by a real provider."""
    pytest.importorskip("opentelemetry.sdk", reason="requirements/tracing.lock is not installed")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from config import tracing

    kept = InMemorySpanExporter()
    tracing._provide(SimpleSpanProcessor(kept))
    return kept.get_finished_spans


@pytest.mark.django_db
def test_one_trace_goes_from_the_request_through_the_task_to_its_statements(spans, rf, project, monkeypatch):
    from django.db import connection

    from config import tracing

    monkeypatch.setitem(jobs._kinds, "x", jobs.Kind(lambda running: {}, "io"))
    message: dict[str, str] = {}

    def view(request):
        request.resolver_match = SimpleNamespace(route="api/v1/x")
        view.job = jobs.enqueue(kind="x", project_id=project.pk)
        tracing.published(headers=message)
        return SimpleNamespace(status_code=202)

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with connection.execute_wrapper(tracing.statement):
        tracing.Traced(view)(rf.post("/api/v1/x", headers={"Traceparent": parent}))
        task = SimpleNamespace(name=run_job.name, request=SimpleNamespace(headers=message))
        tracing.started(task=task)
        jobs.run(view.job.pk)
        tracing.ended(task=task)

    found = spans()
    assert {f"{s.context.trace_id:032x}" for s in found} == {"0af7651916cd43dd8448eb211c80319c"}
    by_name = {s.name: s for s in found}
    request, work = by_name["POST api/v1/x"], by_name["task feedback.run_job"]
    assert work.parent.span_id == request.context.span_id
    statements = [s for s in found if s.attributes.get("db.system.name") == "postgresql"]
    assert {s.parent.span_id for s in statements} == {request.context.span_id, work.context.span_id}
    assert any("feedback_job" in s.attributes["db.query.text"] for s in statements)
    assert not any(str(view.job.token) in s.attributes["db.query.text"] for s in statements)


def test_outside_a_trace_a_statement_has_no_span(spans):
    from config import tracing

    assert tracing.statement(lambda *given: "done", "SELECT 1", None, False, {}) == "done"
    assert spans() == ()
