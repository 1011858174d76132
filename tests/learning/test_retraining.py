"""From an alarm to a retraining that says why, on real parts: customers write, people label blind, a check judges, the learner trains."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from feedback import jobs
from feedback.models import Fold, Inquiry, Job, Project, Role
from feedback.services import NewInquiry, record_inquiry
from labeling import queue
from labeling.services import Answer, annotate, import_label
from learning.models import DriftReport, DriftSettings, RetrainingVerdict, TrainingRun
from serving.models import DecisionRecord, ModelVersion
from serving.served import served
from tests.conftest import make_person
from tests.learning.drift_world import run_check
from tests.learning.following import ask

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_heads")]
THINGS = ("shoes", "lamp", "kettle", "tent", "coat", "phone", "chair", "radio", "bike", "watch")
KNOWN = {
    "refund": ("I want my money back for the {}", "Please pay me back, the {} was too dear", "Refund my {}", "Can I get money for the {}?"),
    "delivery": ("Where is my {}?", "The {} has not come", "When will the {} arrive?", "Track my {} please"),
    "fraud": ("Somebody bought a {} with my card", "I never ordered that {}", "My account was used for a {}", "A stranger paid for a {}"),
}  # fmt: skip
NEW = ("The app froze while it showed the {}", "Your page shows the {} upside down", "The {} button crashes my browser")
PAST, USUAL, UNKNOWN = 204, 60, 40


def usual(n: int) -> list[tuple[str, str]]:
    """Short texts with their category, all different."""
    made = [
        (t.format(f"{a} {b}"), key)
        for a, b in itertools.product(THINGS, THINGS)
        for key, ts in KNOWN.items()
        for t in ts
    ]
    return [made[(7 * i) % len(made)] for i in range(n)]


@pytest.fixture
def serving(project: Project, train: Callable[[Project], Job]) -> Project:
    """A version in production for two days: the cool-down of its own training is over."""
    DriftSettings.objects.create(project=project, reference_size=PAST, check_after=100, false_alarms=0.5, audited=80)
    ids = dict(project.categories.values_list("key", "pk"))
    for n, (text, key) in enumerate(usual(PAST)):
        new = NewInquiry(text=text, request_sha=b"0" * 32, external_id=f"past-{n}", locale="en")
        known = record_inquiry(
            project_id=project.pk, app_id=None, new=new, status="resolved", category_id=None, reply_id=None
        )
        Inquiry.objects.filter(pk=known.pk).update(
            fold=(Fold.TEST, Fold.CALIBRATE)[n % 2] if n % 10 < 2 else Fold.TRAIN
        )
        import_label(inquiry=known, category_id=ids[key])
    assert train(project).state == "done"
    past = timezone.now() - timedelta(days=2)
    Inquiry.objects.update(received_at=past)
    Job.objects.update(finished_at=past)
    TrainingRun.objects.update(created_at=past, finished_at=past)
    ModelVersion.objects.update(created_at=past, promoted_at=past)
    Project.objects.filter(pk=project.pk).update(audit_rate=1.0)
    served.forget()
    return project


def customers_write(project: Project) -> dict[str, str]:
    """Inquiries through the service, with the category that people will give each.

    The new kind of problem belongs where the model puts it least.
    """
    truth = {str(ask(project, text).pk): key for text, key in usual(PAST + USUAL)[PAST:]}
    new = [
        str(ask(project, t.format(a)).pk)
        for t, a in list(itertools.product(NEW, (*THINGS, *(f"old {a}" for a in THINGS))))[:UNKNOWN]
    ]
    said = Counter(DecisionRecord.objects.filter(inquiry__in=new).values_list("category__key", flat=True))
    return truth | dict.fromkeys(new, min(KNOWN, key=lambda key: said[key]))


def people_label(project: Project, truth: dict[str, str]) -> None:
    """Blind, through the queue, until nothing is left in it."""
    people = [make_person(project, name, Role.ANNOTATOR, Role.EXPERT) for name in ("ann", "ben")]
    idle = 0
    for person in itertools.cycle(people):
        lease = queue.claim(project_id=project.pk, annotator_id=person.pk, roles=["annotator", "expert"], seconds=600)
        idle = 0 if lease else idle + 1
        if idle == len(people):
            return
        if lease:
            key = truth[str(Inquiry.objects.get(task__pk=lease.task_id).pk)]
            annotate(project_id=project.pk, answer=Answer(lease.task_id, person.pk, lease.token, key))


def test_an_alarm_with_lost_accuracy_starts_a_training_that_says_why(serving: Project, client: Client) -> None:
    people_label(serving, customers_write(serving))
    check = run_check(serving)
    report, verdict = DriftReport.objects.get(job=check), RetrainingVerdict.objects.get(job=check)
    assert report.state == "critical"
    assert "input" in report.kinds
    assert (verdict.retrain, verdict.reason) == (True, "accuracy")
    assert verdict.now["upper"] < 0.85
    training = Job.objects.get(kind="train", state="queued")
    assert verdict.training == training
    jobs.run(training.pk)
    run = TrainingRun.objects.get(job=training)
    assert run.reason == "accuracy"
    assert run.snapshot.labels == PAST + USUAL + UNKNOWN  # what people said about the window is learned
    assert run.model.lineage["reason"] == "accuracy"
    client.force_login(make_person(serving, "lead", Role.LEAD))
    page = client.get(f"/p/shop/models/{run.model.number}").content.decode()
    assert "audited accuracy is below what was demanded" in page
    assert f"/p/shop/drift?report={report.pk}" in page
