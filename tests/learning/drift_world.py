"""A shop's inquiries as points around the directions of their topics: cheap texts, real rows, planted changes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from django.utils import timezone
from numpy.typing import NDArray

from feedback import jobs
from feedback.models import Category, Fold, Inquiry, Job, Project
from labeling.models import Label, LabelTask, TaskKind, TaskState
from learning import drift_tasks
from learning.models import DriftReport
from serving.engine import to_bytes
from serving.models import DecisionRecord, Embedding, ModelVersion, Stage
from serving.served import served

WIDTH = 16
KNOWN, NEW = (0, 1, 2), 9  # topics


def encoder_sha() -> str:
    """Of the encoder that reads texts without a language: what has its vectors is not read again."""
    return served.encoder_for("a")[0].sha256


def points(topics: Sequence[int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Unit vectors (n, WIDTH) around the axes of their topics."""
    x = np.eye(WIDTH)[list(topics)] + 0.25 * rng.normal(size=(len(topics), WIDTH))
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def arrive(
    project: Project, topics: Sequence[int], *, seed: int, since: datetime, locale: str = "en", customer: str = ""
) -> list[Inquiry]:
    """Inquiries of these topics, a second apart, with their embeddings."""
    x = points(topics, np.random.default_rng(seed))
    made = Inquiry.objects.bulk_create(
        Inquiry(
            id=uuid.uuid5(uuid.NAMESPACE_OID, f"{seed}-{n}"), project=project, text=f"topic {t} no {n} of {seed}", request_sha=b"0" * 32,
            locale=locale,
            customer=customer, group_sha=b"0" * 16, fold=Fold.TRAIN, status="answered", received_at=since + timedelta(seconds=n),
        )
        for n, t in enumerate(topics)
    )  # fmt: skip
    Embedding.objects.bulk_create(
        Embedding(inquiry=i, encoder_sha=encoder_sha(), vector=to_bytes(v)) for i, v in zip(made, x, strict=True)
    )
    return made


def mixed(n: int, *, new: int = 0, seed: int = 0) -> list[int]:
    """Known topics in even shares, and `new` texts of one that was never seen, among them at random."""
    rng = np.random.default_rng(1000 + seed)
    topics = np.concatenate([rng.choice(KNOWN, n - new), np.full(new, NEW)])
    return [int(t) for t in rng.permutation(topics)]


def label(project: Project, inquiries: Sequence[Inquiry], topics: Sequence[int], *, saw: bool = False) -> None:
    """Settled labels: topic t is the t-th category."""
    categories = list(Category.objects.filter(project=project).order_by("pk"))
    Label.objects.bulk_create(
        Label(inquiry=i, project=project, category=categories[t], source="expert", saw_suggestion=saw, settled_at=timezone.now())
        for i, t in zip(inquiries, topics, strict=True)
    )  # fmt: skip


def audit(project: Project, inquiries: Sequence[Inquiry], right: Sequence[bool]) -> None:
    """Audited answers: the model said the first category, and a blind label agrees or does not."""
    first, other = Category.objects.filter(project=project).order_by("pk")[:2]
    model = ModelVersion.objects.filter(project=project, stage=Stage.PRODUCTION).first()
    DecisionRecord.objects.bulk_create(
        DecisionRecord(
            inquiry=i, model=model, model_name="v1", encoder_sha=encoder_sha(), category=first, confidence=0.8, decision="auto", audit=True,
            propensity=0.5,
        )
        for i in inquiries
    )  # fmt: skip
    LabelTask.objects.bulk_create(
        LabelTask(
            project=project, inquiry=i, kind=TaskKind.AUDIT, state=TaskState.RESOLVED, overlap=1, propensity=0.5,
            category=first if hit else other, resolved_at=timezone.now(),
        )
        for i, hit in zip(inquiries, right, strict=True)
    )  # fmt: skip


def serve(project: Project, *, since: datetime) -> ModelVersion:
    """A version in production whose training began then: what had come by that time is the reference."""
    number = ModelVersion.objects.filter(project=project).count() + 1
    made = ModelVersion.objects.create(
        project=project, number=number, encoder_sha=encoder_sha(), manifest_sha="d" * 64, kind="ridge",
        stage=Stage.PRODUCTION, promoted_at=since,
    )  # fmt: skip
    ModelVersion.objects.filter(pk=made.pk).update(created_at=since)
    return made


def known_past(project: Project, n: int = 400) -> datetime:
    """A labeled past of two days ago that the version in production has learned, and the moment after it."""
    begin = timezone.now() - timedelta(days=2)
    topics, end = mixed(n), begin + timedelta(seconds=n)
    label(project, arrive(project, topics, seed=1, since=begin), topics)
    serve(project, since=end)
    return end


def run_check(project: Project) -> Job:
    job = drift_tasks.ask(project_id=project.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    return job


def checked(project: Project) -> DriftReport:
    """A check by hand, run to its end; its report."""
    job = run_check(project)
    assert job.state == "done", job.errors
    return DriftReport.objects.get(job=job)
