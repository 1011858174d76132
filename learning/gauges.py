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
