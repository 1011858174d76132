from __future__ import annotations

import pytest
from django.utils import timezone

from feedback import jobs, outbox
from feedback.models import Job, Project
from feedback.services import NewInquiry, add_categories, record_inquiry
from labeling.services import import_label
from learning.models import Snapshot, TrainingRun
from learning.tasks import new_labels, train_if_due

pytestmark = pytest.mark.django_db


def label(project, n: int, category: str = "refund") -> None:
    new = NewInquiry(text=f"text {chr(97 + n)}", request_sha=b"0" * 32, external_id=str(n))
    inquiry = record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="resolved", category_id=None, reply_id=None
    )
    import_label(inquiry=inquiry, category_id=project.categories.get(key=category).pk)


def trained(project, *, state: str) -> None:
    """The job has begun now and has collected its labels."""
    Job.objects.update(state=state, started_at=timezone.now())
    snapshot = Snapshot.objects.create(project=project, encoder_sha="e", sha256="s", labels=1)
    TrainingRun.objects.create(project=project, job=Job.objects.get(), encoder_sha="e", snapshot=snapshot)


def test_labels_trigger_a_training_when_enough_have_come(project):
    Project.objects.update(retrain_after_labels=3)
    label(project, 0)
    label(project, 1)
    outbox.relay()
    assert not Job.objects.exists()
    label(project, 2)
    outbox.relay()
    assert Job.objects.get().kind == "train"


def test_labels_that_a_training_has_seen_do_not_trigger_another(project):
    Project.objects.update(retrain_after_labels=1)
    label(project, 0)
    assert train_if_due(project_id=project.pk)
    trained(project, state="done")
    assert new_labels(project_id=project.pk) == 0
    assert not train_if_due(project_id=project.pk)


def test_a_new_category_is_taught_only_where_a_model_serves(project):
    add_categories(project_id=project.pk, categories=[{"key": "invoice", "name": "Invoice"}])
    outbox.relay()
    assert not Job.objects.exists()


def test_labels_that_a_running_training_has_collected_do_not_ask_for_it_again(project):
    Project.objects.update(retrain_after_labels=1)
    label(project, 0)
    train_if_due(project_id=project.pk)
    trained(project, state="running")
    assert not train_if_due(project_id=project.pk)
    label(project, 1)
    assert train_if_due(project_id=project.pk)
    assert Job.objects.get().again


def test_a_training_that_was_asked_for_twice_learns_once(project):
    Project.objects.update(retrain_after_labels=1)
    label(project, 0)
    train_if_due(project_id=project.pk)
    trained(project, state="done")
    late = jobs.enqueue(kind="train", project_id=project.pk, params={"if_due": True})
    jobs.run(late.pk)
    late.refresh_from_db()
    assert late.state == "done"
    assert late.result["runs"] == []
