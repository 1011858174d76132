"""What of labeling/ is audited: what people decided. Leases, slots and priorities are not, nor tasks that routing opens."""

from __future__ import annotations

from feedback.audit import DELETE, UPDATE, Recorded, record
from labeling.models import (
    Annotation,
    ComparisonAnswer,
    Draft,
    Escalation,
    GoldItem,
    Guideline,
    Label,
    LabelTask,
    Qualification,
)

_COMPARISONS_PROJECT = "(SELECT c.project_id FROM labeling_comparison c WHERE c.id = {row}.comparison_id)"
_CASES_PROJECT = "(SELECT e.project_id FROM labeling_escalation e WHERE e.id = {row}.case_id)"
_TASKS_PROJECT = "(SELECT t.project_id FROM labeling_labeltask t WHERE t.id = {row}.task_id)"


def register() -> None:
    """Called when the app is ready."""
    record(LabelTask, Recorded("task", ("state", "category_id", "resolution", "overlap"), actions=(UPDATE, DELETE)))
    record(
        Annotation,
        Recorded(
            "annotation",
            ("task_id", "annotator_id", "category_id", "role", "extra", "saw_suggestion"),
            project=_TASKS_PROJECT,
        ),
    )
    record(
        ComparisonAnswer,
        Recorded("comparison", ("comparison_id", "annotator_id", "verdict"), project=_COMPARISONS_PROJECT),
    )
    record(
        Draft,
        Recorded(
            "draft", ("case_id", "source", "state", "decided_by_id"), project=_CASES_PROJECT, actions=(UPDATE, DELETE)
        ),
    )
    record(Label, Recorded("label", ("inquiry_id", "category_id", "source", "saw_suggestion")))
    record(
        Escalation,
        Recorded(
            "escalation",
            ("inquiry_id", "state", "assignee_id", "category_id", "priority"),
            texts=("reply_text",),
            inserts_asked_for=True,
        ),
    )
    record(Guideline, Recorded("guideline", ("number", "category_id", "author_id"), texts=("text",)))
    record(Qualification, Recorded("qualification", ("annotator_id", "languages", "categories")))
    record(GoldItem, Recorded("gold", ("task_id", "category_id", "active")))
