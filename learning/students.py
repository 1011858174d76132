"""Distilling a project's encoder into a student, on the project's own unlabeled texts: texts → student → gates → store.

A student that passed takes the place of the one before; a training then gives it a head, and thresholds are chosen for
the pair (learning/cascades.py). It is distilled again when the project's texts have doubled, when they have moved away
from what it knows, and when somebody whose texts it was made from was erased.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from feedback import jobs
from feedback.models import Fold, Inquiry
from labeling.models import Label
from learning.core import distill as core
from learning.core.student_gates import Faith, Sides, judge, measured
from serving import storage, students
from serving.anchors import inquiries
from serving.embeddings import embed_missing
from serving.encoder import OnnxEncoder, StaticEncoder, language_of
from serving.engine import Desk, from_bytes
from serving.models import Embedding, Student
from serving.served import served

SEED = 0
MOST_TEXTS, LEAST_TEXTS = 10_000, 1_000
HELD_OUT = 1_000
GROWTH = 2
# Of the newest texts, those that the student knows less of than all but one in a hundred when it was made.
RECENT, MOST_NOVEL = 500, 0.05
WITHOUT_SPACES = frozenset({"ja", "zh", "ko"})
BY_WORDS, BY_CHARACTERS = core.DistillConfig(), core.DistillConfig(longest_gram=3)


@dataclass(frozen=True)
class Texts:
    """Inquiries of some folds, newest first, no near-duplicate twice, with the teacher's vectors."""

    ids: list[uuid.UUID]
    texts: list[str]
    x: NDArray[np.float32]

    @property
    def sha256(self) -> str:
        return hashlib.sha256("\0".join(self.texts).encode()).hexdigest()


def distill_project(running: jobs.Running) -> dict[str, Any]:
    """Handler of `distill` jobs. Begins anew when it was killed: it takes less than a minute."""
    project_id = running.job.project_id
    teacher = served.encoder(settings.ENSO_ENCODER)
    if not isinstance(teacher, OnnxEncoder):
        return {"why": f"The encoder {teacher.name} is fast by itself."}
    running.report(0.02, "reading texts")
    embed_missing(project_id=project_id, only=_unread(project_id))
    texts = collected(project_id, teacher.sha256, [Fold.TRAIN], MOST_TEXTS)
    if len(texts.texts) < LEAST_TEXTS:
        return {"why": f"{len(texts.texts)} distinct texts are too few, {LEAST_TEXTS:,} are needed."}
    return _distilled(running, teacher, texts)


def _distilled(running: jobs.Running, teacher: OnnxEncoder, texts: Texts) -> dict[str, Any]:
    project_id = running.job.project_id

    def report(epoch: int, cosine: float) -> None:
        running.report(0.1 + 0.75 * epoch / BY_WORDS.epochs, f"epoch {epoch}, cosine {cosine:.3f}")

    encoder = made(teacher, texts, report)
    running.report(0.9, "judging")
    faith = faith_of(project_id, encoder, teacher, texts)
    results = judge(faith)
    passed = all(r.passed for r in results)
    student = Student(
        project_id=project_id, teacher_sha=teacher.sha256, encoder_sha=encoder.sha256, texts=len(texts.texts),
        texts_sha=texts.sha256, metrics=faith.as_dict() | {"least_known": _least_known(encoder, project_id, teacher)},
        gates=[asdict(r) for r in results],
    )  # fmt: skip
    running.report(0.95, "registering")
    student = students.register(student, passed=passed)
    if passed and Label.objects.filter(project_id=project_id, category__isnull=False).exists():
        jobs.enqueue(kind="train", project_id=project_id)  # its head, and when it hands on
    return {"student": student.encoder_sha, "passed": passed, **faith.as_dict()}


def made(teacher: OnnxEncoder, texts: Texts, report: core.Report) -> StaticEncoder:
    """The student of these texts in its folder, verified. The sentences that sentiment is read by are learned with them."""
    languages = [language_of(text) for text in texts.texts]
    by_characters = sum(language in WITHOUT_SPACES for language in languages) > len(languages) / 2
    anchors = inquiries(max(set(languages), key=languages.count)).texts
    tokenizer = None if by_characters else Path(settings.ENSO_ENCODERS) / settings.ENSO_ENCODER / "tokenizer.json"
    student = core.distill(
        [*texts.texts, *anchors], np.concatenate([texts.x, teacher.encode(anchors)]), teacher=teacher, tokenizer=tokenizer,
        rng=np.random.default_rng(SEED), config=BY_CHARACTERS if by_characters else BY_WORDS, report=report,
    )  # fmt: skip
    return _stored(student, teacher, tokenizer, texts.sha256)


def _stored(student: core.Student, teacher: OnnxEncoder, tokenizer: Path | None, texts_sha: str) -> StaticEncoder:
    """Written aside, then renamed: a student is there as a whole or not at all."""
    root = students.folder("x").parent
    root.mkdir(parents=True, exist_ok=True)
    aside = root / f".unfinished-{uuid.uuid4().hex}"
    try:
        name = f"student of {teacher.name}"
        sha = core.write_student(
            student, aside, name=name, teacher=teacher, tokenizer=tokenizer, texts_sha256=texts_sha
        )
        for path in aside.iterdir():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
        if not students.folder(sha).is_dir():
            aside.rename(students.folder(sha))
        storage.put(students.folder(sha))
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    opened = students.opened(sha)
    if opened is None:
        raise RuntimeError(f"student {sha[:12]} was written and cannot be read")
    return opened


def faith_of(project_id: int, encoder: StaticEncoder, teacher: OnnxEncoder, train: Texts) -> Faith:
    """How near the student is to its teacher on texts of the other two folds."""
    desk = served.desk(project_id)
    held_out = collected(project_id, teacher.sha256, [Fold.CALIBRATE, Fold.TEST], HELD_OUT)
    if not held_out.texts:
        raise ValueError("no text is held out: nothing can be said of a student")
    x, known = encoder.encode_with_known_share(held_out.texts)
    return measured(
        _sides(desk, teacher, train, encoder.encode(train.texts)), _sides(desk, teacher, held_out, x), known,
        _truth(desk, held_out.ids), categories=max(len(desk.categories), 1),
    )  # fmt: skip


def _sides(desk: Desk, teacher: OnnxEncoder, texts: Texts, x: NDArray[np.float32]) -> Sides:
    decided = served.head(desk, teacher).head.predict(texts.x).argmax(axis=1)
    return Sides(texts.x, x, np.asarray(decided, np.int64))


def _truth(desk: Desk, ids: list[uuid.UUID]) -> NDArray[np.int64]:
    """The label of each inquiry as a position of the head's categories, −1 where there is none."""
    head = served.head(desk, served.encoder(settings.ENSO_ENCODER))
    index = {key: i for i, key in enumerate(head.categories)}
    labels = dict(Label.objects.filter(inquiry_id__in=ids).values_list("inquiry_id", "category__key"))
    return np.array([index.get(labels.get(pk, ""), -1) for pk in ids], np.int64)


def _least_known(encoder: StaticEncoder, project_id: int, teacher: OnnxEncoder) -> float:
    held_out = collected(project_id, teacher.sha256, [Fold.CALIBRATE, Fold.TEST], HELD_OUT)
    return float(np.quantile(encoder.encode_with_known_share(held_out.texts)[1], 0.01))


def due(*, project_id: int) -> str | None:
    """Why a project should have another student now, or None."""
    teacher = served.encoder(settings.ENSO_ENCODER)
    if not isinstance(teacher, OnnxEncoder):
        return None
    last = Student.objects.filter(project_id=project_id, teacher_sha=teacher.sha256).order_by("-pk").first()
    count = _distinct(project_id)
    if last is None:
        return f"{count:,} texts and no student yet" if count >= LEAST_TEXTS else None
    if last.outdated:
        return "somebody whose texts it was made from was erased"
    if last.texts < MOST_TEXTS and count >= GROWTH * last.texts:
        return f"{count:,} texts, {last.texts:,} when it was made"
    novel = _novel_share(last)
    return f"{novel:.0%} of the newest texts are new to it" if novel > MOST_NOVEL else None


def _novel_share(student: Student) -> float:
    """Of the newest texts since it was made, the share that it knows little of; 0 where there are too few to tell."""
    encoder = students.opened(student.encoder_sha)
    newest = _inquiries(student.project_id, [Fold.TRAIN]).filter(received_at__gt=student.created_at)
    texts = list(newest.order_by("-pk").values_list("text", flat=True)[:RECENT])
    if encoder is None or len(texts) < RECENT:
        return 0.0
    shares = encoder.encode_with_known_share(texts)[1]
    return float((shares < student.metrics.get("least_known", 0.0)).mean())


def collected(project_id: int, teacher_sha: str, folds: list[Fold], limit: int) -> Texts:
    rows = Embedding.objects.filter(
        inquiry__project_id=project_id, inquiry__fold__in=folds, encoder_sha=teacher_sha
    ).order_by("-inquiry_id")
    fields = ("inquiry_id", "inquiry__text", "inquiry__group_sha", "vector")
    distinct: dict[bytes, tuple[uuid.UUID, str, bytes]] = {}
    for pk, text, group, vector in rows.values_list(*fields)[: 2 * limit]:
        distinct.setdefault(bytes(group), (pk, text, bytes(vector)))
    found = list(distinct.values())[:limit]
    x = from_bytes([v for _, _, v in found]) if found else np.zeros((0, 1), np.float32)
    return Texts([pk for pk, _, _ in found], [text for _, text, _ in found], x)


def _inquiries(project_id: int, folds: list[Fold]) -> Any:
    return Inquiry.objects.filter(project_id=project_id, fold__in=folds)


def _distinct(project_id: int) -> int:
    newest = _inquiries(project_id, [Fold.TRAIN]).order_by("-pk").values("group_sha")[: GROWTH * MOST_TEXTS]
    return len({bytes(row["group_sha"]) for row in newest})


def _unread(project_id: int) -> list[uuid.UUID]:
    """The newest inquiries that no encoder but a student has read: held-out ones as well."""
    newest = _inquiries(project_id, [Fold.TRAIN]).order_by("-pk").values("pk")[:MOST_TEXTS]
    held_out = _inquiries(project_id, [Fold.CALIBRATE, Fold.TEST]).order_by("-pk").values("pk")[:HELD_OUT]
    unread = Inquiry.objects.filter(embeddings__isnull=True)
    return [
        *unread.filter(pk__in=newest).values_list("pk", flat=True),
        *unread.filter(pk__in=held_out).values_list("pk", flat=True),
    ]
