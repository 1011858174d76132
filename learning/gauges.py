"""What operators watch of learning: accuracy on the audit slice, and labels that no model has learned from yet."""

from __future__ import annotations

from collections.abc import Iterator

from feedback.gauges import rows
from feedback.metrics import Sample, declare, gauges
from feedback.models import Project
from learning import selectors

ACCURACY = declare(
    "gauge", "enso_audit_accuracy", "How often decisions were right on the audit slice, with its 95 % interval (Wilson).",
    ("project", "bound"), unit="percentunit",
)  # fmt: skip
AUDITED = declare("gauge", "enso_audit_answers", "Audited decisions that the accuracy rests on.", ("project",))
UNANSWERED = declare("gauge", "enso_audit_unanswered", "Audit draws that nobody has labeled yet.", ("project",))
WAITING = declare("gauge", "enso_labels_waiting", "Settled labels that no training has begun with.", ("project",))
REJECTED = declare(
    "gauge", "enso_trainings_rejected", "Trainings of the last day whose version failed its gates.", ("project",)
)

_REJECTED = """
SELECT p.slug, count(*) FROM learning_trainingrun r JOIN feedback_project p ON p.id = r.project_id
WHERE r.state = 'rejected' AND r.created_at > now() - interval '1 day' GROUP BY 1
"""

DRIFT = declare("gauge", "enso_drift_state", "The last check: 0 steady, 1 warning, 2 critical.", ("project", "encoder"))
DRIFT_P = declare(
    "gauge", "enso_drift_p_value", "Of the last check's test.", ("project", "encoder"), unit="percentunit"
)
DRIFT_AGE = declare(
    "gauge", "enso_drift_checked_seconds", "Since when nobody has checked.", ("project", "encoder"), unit="s"
)
_DRIFT = """
SELECT DISTINCT ON (r.project_id, r.encoder_sha) p.slug, left(r.encoder_sha, 8),
    CASE r.state WHEN 'critical' THEN 2 WHEN 'warning' THEN 1 ELSE 0 END, r.p_value, extract(epoch FROM now() - r.created_at)
FROM learning_driftreport r JOIN feedback_project p ON p.id = r.project_id WHERE p.archived_at IS NULL
ORDER BY r.project_id, r.encoder_sha, r.created_at DESC
"""


@gauges("drift", seconds=60.0)
def drift() -> Iterator[Sample]:
    for slug, encoder, state, p, age in rows(_DRIFT):
        yield DRIFT, (slug, encoder), float(state)
        yield DRIFT_P, (slug, encoder), float(p)
        yield DRIFT_AGE, (slug, encoder), float(age)


@gauges("learning", seconds=60.0)
def learning() -> Iterator[Sample]:
    for project in Project.objects.filter(archived_at=None):
        slug = (project.slug,)
        if (found := selectors.audited_accuracy(project_id=project.pk)) is not None:
            for bound, value in (("value", found.value), ("low", found.low), ("high", found.high)):
                yield ACCURACY, (*slug, bound), value
        yield AUDITED, slug, float(found.n if found else 0)
        yield UNANSWERED, slug, float(selectors.unanswered_audits(project_id=project.pk))
        yield WAITING, slug, float(selectors.labels_since_training(project=project).count)
    yield from ((REJECTED, (slug,), float(n)) for slug, n in rows(_REJECTED))
