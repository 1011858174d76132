"""What labeling/ holds about a customer, deleted."""

from __future__ import annotations

from django.db import transaction

from feedback.erasure import inquiries_of
from labeling.exchange.files import forget_files
from labeling.models import Annotation, Comparison, Escalation, Label, LabelTask
from labeling.services import withdraw_label


def erase(*, project_id: int, customer: str) -> dict[str, int]:
    """Withdraw a customer's labels (announced, so that heads forget them), and delete tasks, answers and escalations.

    Cases go with their notes, replies and findings. Files made for download may hold the texts: all of the project's go.
    """
    with transaction.atomic():
        inquiries = list(inquiries_of(project_id=project_id, customer=customer).select_for_update())
        for inquiry in inquiries:
            withdraw_label(inquiry=inquiry)
        labels = Label.objects.filter(inquiry__in=inquiries)
        tasks = LabelTask.objects.filter(inquiry__in=inquiries)
        escalations = Escalation.objects.filter(inquiry__in=inquiries)
        counts = {
            "labels": labels.count(), "tasks": tasks.count(), "escalations": escalations.count(),
            "annotations": Annotation.objects.filter(task__in=tasks).count(),
        }  # fmt: skip
        comparisons = Comparison.objects.filter(inquiry__in=inquiries)
        counts["comparisons"] = comparisons.count()
        for rows in (labels, tasks, escalations, comparisons):
            rows.delete()
        counts["files"] = forget_files(project_id=project_id) if inquiries else 0
    return counts
