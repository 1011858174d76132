"""When a project's student hands a text to its teacher: thresholds for the two heads in production, on held-out texts.

The texts are those of the calibrate fold, labeled or not: neither the student nor a head has learned from them. What the
cascade may lose is stated against the slow head of the pair; where no threshold keeps that margin without handing on most
texts, there is no cascade, and the encoder answers alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Fold
from labeling.models import Label
from learning.core.cascade import MARGIN as MARGIN
from learning.core.cascade import choose_threshold
from serving import registry, students
from serving.artifacts import CorruptBundle
from serving.encoder import StaticEncoder
from serving.engine import from_bytes
from serving.head import OnnxHead
from serving.models import Cascade, Embedding, ModelVersion, Student

log = logging.getLogger(__name__)
TEXTS, LEAST_TEXTS = 2_000, 200
MOST_UP = 0.5  # beyond this the two steps together cost more than they save
# Held-out texts that go up because too little of them is known: what is rarer than this is not the project's usual text.
NOVEL_SHARE = 0.01


@dataclass(frozen=True)
class HeldOut:
    """Texts that neither step has learned from: the teacher's vectors, and each one's category where a person said it."""

    texts: list[str]
    slow: NDArray[np.float32]
    categories: list[str | None]

    def labels(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """Positions among `categories`, −1 for what is not labeled or not among them."""
        index = {key: i for i, key in enumerate(categories)}
        return np.array([index.get(key, -1) if key else -1 for key in self.categories], np.int64)


def calibrate(*, project_id: int) -> list[dict[str, Any]]:
    """Choose thresholds for every pair in production that has none yet; what came of each."""
    found: list[dict[str, Any]] = []
    for student in students.in_production(project_id=project_id):
        fast = registry.in_production(project_id=project_id, encoder_sha=student.encoder_sha)
        slow = registry.in_production(project_id=project_id, encoder_sha=student.teacher_sha)
        if fast is None or slow is None or Cascade.objects.filter(fast=fast, slow=slow).exists():
            continue
        try:
            made = _chosen(student, fast, slow)
        except (CorruptBundle, LookupError, ValueError) as error:
            log.warning("no cascade for %s before %s: %s", fast, slow, error)
            found.append({"student": student.encoder_sha[:12], "why": str(error)})
            continue
        made.save()
        found.append({"student": student.encoder_sha[:12], "up_share": made.up_share, "loss": made.expected_loss})
    return found


def _chosen(student: Student, fast: ModelVersion, slow: ModelVersion) -> Cascade:
    """Raises ValueError with the reason where a cascade is not worth having."""
    held_out = held_out_texts(project_id=student.project_id, teacher_sha=student.teacher_sha)
    if len(held_out.texts) < LEAST_TEXTS:
        raise ValueError(f"{len(held_out.texts)} held-out texts are too few, {LEAST_TEXTS} are needed")
    encoder = students.opened(student.encoder_sha)
    if encoder is None:
        raise LookupError(f"the files of student {student.encoder_sha[:12]} are gone")
    p_fast, p_slow, known, labels = _read(encoder, fast, slow, held_out)
    chosen = choose_threshold(p_fast, p_slow, margin=MARGIN, labels=labels)
    if chosen.up_share > MOST_UP:
        raise ValueError(f"{chosen.up_share:.0%} of the texts would go up: the student is not near enough yet")
    return Cascade(
        student=student, fast=fast, slow=slow, least_sure=float(max(chosen.value, 0.0)), least_known=float(np.quantile(known, NOVEL_SHARE)),
        margin=MARGIN, up_share=chosen.up_share, expected_loss=chosen.expected_loss, texts=len(held_out.texts),
    )  # fmt: skip


def _read(
    encoder: StaticEncoder, fast: ModelVersion, slow: ModelVersion, held_out: HeldOut
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities [n, C] of both heads, in one order of the categories, the shares of known n-grams [n], labels [n]."""
    heads = [OnnxHead.load(registry.open_bundle(version)) for version in (fast, slow)]
    if set(heads[0].categories) != set(heads[1].categories):
        raise ValueError("the two heads know different categories")
    order = [heads[0].categories.index(key) for key in heads[1].categories]
    x, known = encoder.encode_with_known_share(held_out.texts)
    labels = held_out.labels(heads[1].categories)
    return heads[0].predict(x)[:, order], heads[1].predict(held_out.slow), known, labels


def held_out_texts(*, project_id: int, teacher_sha: str, limit: int = TEXTS) -> HeldOut:
    """The newest texts of the calibrate fold that the teacher has read."""
    rows = Embedding.objects.filter(
        inquiry__project_id=project_id, inquiry__fold=Fold.CALIBRATE, encoder_sha=teacher_sha
    ).order_by("-inquiry_id")
    found = list(rows.values_list("inquiry_id", "inquiry__text", "vector")[:limit])
    vectors = from_bytes([bytes(v) for _, _, v in found]) if found else np.zeros((0, 1), np.float32)
    said = dict(
        Label.objects.filter(project_id=project_id, inquiry__in=[pk for pk, _, _ in found]).values_list("inquiry_id", "category__key")
    )  # fmt: skip
    return HeldOut([text for _, text, _ in found], vectors, [said.get(pk) for pk, _, _ in found])
