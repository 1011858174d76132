"""What operators watch of answering: decisions by version and step of the cascade as they are made, rollouts and heads as they
stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from feedback.gauges import rows
from feedback.metric_files import count, observe
from feedback.metrics import Sample, declare, gauges
from serving import request_log
from serving.request_log import Answered

if TYPE_CHECKING:
    from serving.engine import Desk, Prediction
    from serving.routing import Decision

ANSWERS = declare(
    "counter", "enso_answers",
    "Decisions by version, step of the cascade (student, encoder; none: both broken) and outcome; stored ones and previews.",
    ("project", "model", "step", "decision", "stored"),
)  # fmt: skip
REASONS = declare("counter", "enso_answer_reasons", "Why stored inquiries went to a person.", ("project", "reason"))
ESCALATIONS = declare(
    "counter", "enso_escalations_opened", "Inquiries that were escalated by the decision.", ("project",)
)
MODEL_SECONDS = declare(
    "histogram", "enso_model_seconds", "From the text to the prediction, of stored inquiries.", ("project", "model"), unit="s"
)  # fmt: skip
VERSION = declare(
    "gauge", "enso_model_in_production", "1 for each version that serves.", ("project", "model", "encoder")
)
VERSION_AGE = declare(
    "gauge", "enso_model_age_seconds", "Since when the version in production serves.", ("project", "model"), unit="s"
)
ROLLOUT = declare(
    "gauge",
    "enso_rollout_percent",
    "Share of customers that a candidate answers.",
    ("project", "model", "state"),
    unit="percent",
)
FROZEN = declare(
    "gauge", "enso_model_frozen", "1 where live labels are held back because the guard set fell.", ("project", "model")
)
DELTAS = declare(
    "gauge",
    "enso_model_label_changes",
    "Label changes that the version has followed since it was made.",
    ("project", "model"),
)

_VERSIONS = """
SELECT p.slug, m.number, left(m.encoder_sha, 8), extract(epoch FROM now() - m.promoted_at), coalesce(l.frozen, '') <> '',
    coalesce(l.changes, 0)
FROM serving_modelversion m JOIN feedback_project p ON p.id = m.project_id LEFT JOIN serving_livestate l ON l.model_id = m.id
WHERE m.stage = 'production' AND p.archived_at IS NULL
"""
_ROLLOUTS = """
SELECT p.slug, m.number, r.state, (r.plan->>r.step::int)::float FROM serving_rollout r JOIN feedback_project p ON p.id = r.project_id
JOIN serving_modelversion m ON m.id = r.candidate_id WHERE r.state IN ('running', 'held')
"""


def decided(desk: Desk, p: Prediction, decision: Decision, *, stored: bool) -> None:
    """Count a decision. It is on the path of every answer: nothing here waits for anything."""
    step = "none" if p.unread else "student" if p.teacher_sha else "encoder"
    count(ANSWERS, (desk.slug, p.model_name, step, decision.decision, "yes" if stored else "no"))
    request_log.note(Answered(desk.project_id, p.model_name, step, decision.decision))
    if not stored:
        return
    if p.took_ms is not None:
        observe(MODEL_SECONDS, (desk.slug, p.model_name), p.took_ms / 1000)
    for reason in decision.reasons:
        count(REASONS, (desk.slug, str(reason["code"])))
    if decision.escalate:
        count(ESCALATIONS, (desk.slug,))


@gauges("models", seconds=15.0)
def models() -> Iterator[Sample]:
    for slug, number, encoder, age, frozen, changes in rows(_VERSIONS):
        name = f"v{number}"
        yield VERSION, (slug, name, encoder), 1.0
        yield VERSION_AGE, (slug, name), float(age or 0)
        yield FROZEN, (slug, name), float(frozen)
        yield DELTAS, (slug, name), float(changes)
    for slug, number, state, percent in rows(_ROLLOUTS):
        yield ROLLOUT, (slug, f"v{number}", state), float(percent or 0)
