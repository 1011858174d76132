"""A labeled shop: texts of the sample grammar, imported with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from feedback import jobs
from feedback.models import Job, Project
from feedback.services import NewInquiry, create_project, record_inquiry
from labeling.services import import_label
from learning import owner
from learning.owner import Owner
from learning.sample.grammar import CATEGORIES, generate
from serving.served import served
from tests.learning.killed import make_heads_small


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
