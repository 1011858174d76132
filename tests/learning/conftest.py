"""A labeled shop: texts of the sample grammar, imported with their labels."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from feedback import jobs
from feedback.models import Fold, Inquiry, Job, Project
from feedback.services import NewInquiry, create_project, record_inquiry, touch_project
from labeling.models import LabelTask, TaskKind, TaskState
from labeling.services import import_label
from learning import owner, pools, selecting, selecting_view
from learning.owner import Owner
from learning.sample.grammar import CATEGORIES, generate
from serving import services
from serving.served import served
from tests.learning.killed import make_heads_small
from tests.learning.queues import TASKS, add_tasks


@pytest.fixture
def desk(db: None) -> Project:
    """A project with the categories of the sample grammar, without any label."""
    rows = [
        {"key": c.key, "name": c.name["en"], "description": c.description["en"], "examples": list(c.examples["en"])}
        for c in CATEGORIES
    ]
    return create_project(slug="sample", name="Sample", categories=rows, audit_rate=0.0)


@pytest.fixture
def add_labels() -> Callable[..., None]:
    def add(project: Project, count: int, *, seed: int = 0, locale: str = "en") -> None:
        ids = dict(project.categories.values_list("key", "pk"))
        for n, (text, category) in enumerate(generate(count, seed=seed, locale=locale)):
            new = NewInquiry(text=text, request_sha=b"0" * 32, external_id=f"{seed}-{locale}-{n}", locale=locale)
            inquiry = record_inquiry(
                project_id=project.pk, app_id=None, new=new, status="resolved", category_id=None, reply_id=None
            )
            import_label(inquiry=inquiry, category_id=ids[category])

    return add


@pytest.fixture
def train() -> Callable[[Project], Job]:
    """Run a training job to its end in this process, as the learner does."""

    def run(project: Project) -> Job:
        job = jobs.enqueue(kind="train", project_id=project.pk)
        jobs.run(job.pk)
        job.refresh_from_db()
        served.refresh()
        return job

    return run


@pytest.fixture
def small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As exact as any, at a fraction of the time."""
    make_heads_small(monkeypatch.setattr)


@pytest.fixture
def keeper() -> Iterator[Owner]:
    with owner.lock_connection() as locks:
        yield Owner(locks)


@pytest.fixture
def shop(desk: Project, add_labels: Callable[..., None], train: Callable[[Project], object]) -> Project:
    add_labels(desk, 80)
    train(desk)
    return desk


@pytest.fixture
def queue(desk: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A queue of several segments and parts, though it is short."""
    monkeypatch.setattr(pools, "SPAN_BITS", 5)
    monkeypatch.setattr(selecting, "PART", 40)
    monkeypatch.setattr(selecting_view, "PART", 40)
    monkeypatch.setattr(selecting, "TOP", 90)
    only_selection = {"risk_share": 0.0, "diversity_share": 0.0}
    Project.objects.filter(pk=desk.pk).update(retrain_after_labels=10, strategy="msal", **only_selection)
    add_tasks(desk, TASKS)
    desk.refresh_from_db()
    return desk


@pytest.fixture
def waiting(shop: Project) -> list[LabelTask]:
    """Inquiries that arrived when the project wanted to be surer than any model is, so that all of them wait for people."""
    Project.objects.update(confidence_threshold=1.0)
    touch_project(project_id=shop.pk)
    served.refresh()
    for n in range(8):
        new = NewInquiry(
            text=f"Where is my parcel number {n}?", request_sha=b"0" * 32, external_id=uuid.uuid4().hex, locale="en"
        )
        services.answer_inquiry(project_id=shop.pk, app_id=None, new=new)
    Project.objects.update(confidence_threshold=0.6)
    touch_project(project_id=shop.pk)
    served.refresh()
    tasks = list(LabelTask.objects.filter(kind=TaskKind.SELECTION, state=TaskState.OPEN).order_by("pk"))
    assert len(tasks) == 8
    Inquiry.objects.filter(task__in=tasks).update(fold=Fold.TRAIN)
    return tasks
