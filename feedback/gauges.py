"""What operators watch of the mechanisms: jobs, the outbox, webhooks. Read from the rows that are the truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connection

from feedback.metrics import Labels, Metric, Sample, declare, gauges

JOBS = declare(
    "gauge", "enso_jobs", "Background jobs by kind and state; ended ones of the last hour.", ("kind", "state")
)
JOB_AGE = declare(
    "gauge",
    "enso_jobs_oldest_seconds",
    "How long the oldest unfinished job of a kind has been asked for.",
    ("kind",),
    unit="s",
)
JOB_SECONDS = declare(
    "gauge",
    "enso_jobs_mean_seconds",
    "Mean run time of jobs of a kind that ended in the last hour.",
    ("kind",),
    unit="s",
)
BEAT = declare(
    "gauge",
    "enso_jobs_heartbeat_seconds",
    "Since when the quietest running job has given no sign.",
    ("kind",),
    unit="s",
)
OUTBOX = declare("gauge", "enso_outbox_events", "Outbox events that wait, or that were given up.", ("state",))
OUTBOX_LAG = declare(
    "gauge", "enso_outbox_lag_seconds", "How long the oldest outbox event that is due has waited.", unit="s"
)
NOTICES = declare(
    "gauge", "enso_webhook_notices", "Webhook notices that wait, or that were given up.", ("project", "state")
)
NOTICE_LAG = declare(
    "gauge", "enso_webhook_lag_seconds", "How long the oldest notice that is due has waited.", ("project",), unit="s"
)
CIRCUITS = declare(
    "gauge", "enso_webhook_circuits_open", "Webhooks that are left alone for a while because they failed.", ("project",)
)
UNSCORED = declare(
    "gauge", "enso_feedback_unfolded_events", "Feedback events that are stored and not yet in the scores.", ("project",)
)

_JOBS = """
SELECT kind, state, count(*), coalesce(max(extract(epoch FROM now() - created_at)), 0),
    max(extract(epoch FROM now() - heartbeat_at)) FILTER (WHERE state = 'running'),
    avg(extract(epoch FROM finished_at - started_at))
FROM feedback_job WHERE state IN ('queued', 'running', 'failed') OR finished_at > now() - interval '1 hour' GROUP BY 1, 2
"""
_OUTBOX = """
SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'dead'),
    coalesce(max(extract(epoch FROM now() - available_at)) FILTER (WHERE state = 'pending' AND available_at < now()), 0)
FROM feedback_outboxevent WHERE state IN ('pending', 'dead')
"""
_NOTICES = """
SELECT p.slug, count(*) FILTER (WHERE n.state = 'pending'), count(*) FILTER (WHERE n.state = 'dead'),
    coalesce(max(extract(epoch FROM now() - n.due_at)) FILTER (WHERE n.state = 'pending' AND n.due_at < now()), 0)
FROM feedback_notice n JOIN feedback_webhook w ON w.id = n.webhook_id JOIN feedback_project p ON p.id = w.project_id
WHERE n.state IN ('pending', 'dead') GROUP BY 1
"""
_CIRCUITS = """
SELECT p.slug, count(*) FILTER (WHERE w.open_until > now()) FROM feedback_webhook w
JOIN feedback_project p ON p.id = w.project_id WHERE w.active GROUP BY 1
"""
_UNFOLDED = """
SELECT p.slug, sum(cardinality(u.events)) FROM feedback_unscored u JOIN feedback_project p ON p.id = u.project_id GROUP BY 1
"""


def rows(query: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, list(parameters))
        return list(cursor.fetchall())


@gauges("jobs")
def jobs() -> Iterator[Sample]:
    oldest: dict[str, float] = {}
    for kind, state, n, age, quiet, took in rows(_JOBS):
        yield JOBS, (kind, state), float(n)
        if state in ("queued", "running", "failed"):
            oldest[kind] = max(oldest.get(kind, 0.0), float(age))
        if quiet is not None:
            yield BEAT, (kind,), float(quiet)
        if state == "done":
            yield JOB_SECONDS, (kind,), float(took or 0)
    yield from ((JOB_AGE, (kind,), age) for kind, age in oldest.items())


@gauges("outbox")
def outbox() -> Iterator[Sample]:
    ((pending, dead, lag),) = rows(_OUTBOX)
    yield from _states(OUTBOX, (), pending, dead)
    yield OUTBOX_LAG, (), float(lag)


@gauges("webhooks")
def webhooks() -> Iterator[Sample]:
    for slug, pending, dead, lag in rows(_NOTICES):
        yield from _states(NOTICES, (slug,), pending, dead)
        yield NOTICE_LAG, (slug,), float(lag)
    yield from ((CIRCUITS, (slug,), float(n)) for slug, n in rows(_CIRCUITS))


@gauges("scores")
def unfolded() -> Iterator[Sample]:
    yield from ((UNSCORED, (slug,), float(n)) for slug, n in rows(_UNFOLDED))


def _states(metric: Metric, labels: Labels, pending: int, dead: int) -> Iterator[Sample]:
    yield metric, (*labels, "pending"), float(pending)
    yield metric, (*labels, "dead"), float(dead)
