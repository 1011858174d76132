"""Stored embeddings: written with the answer, or caught up on for inquiries that came in by import.

A distilled encoder's vectors are not stored: they are made from the texts again, which takes less than reading them would.
Its inquiries are those of the encoder that it imitates.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from feedback.models import Inquiry
from serving import students
from serving.encoder import Encoder
from serving.engine import from_bytes, to_bytes
from serving.models import Embedding
from serving.served import served

BATCH = 256


@dataclass(frozen=True)
class Space:
    """Where the vectors of one encoder variant come from: rows under `stored_sha`, or a student that reads the texts."""

    stored_sha: str
    student: Encoder | None

    def vectors(self, texts: Sequence[str], stored: Sequence[bytes | memoryview]) -> NDArray[np.float32]:
        """Unit rows [n, d] of inquiries with these texts and stored vectors; [0, 1] of none."""
        if not stored:
            return np.zeros((0, 1), np.float32)
        return self.student.encode(texts) if self.student is not None else from_bytes(stored)


def space_of(encoder_sha: str) -> Space:
    """LookupError for a student whose files are gone."""
    teacher = students.teacher_of(encoder_sha)
    if teacher is None:
        return Space(encoder_sha, None)
    return Space(teacher, served.encoder_by_sha(encoder_sha))


def embed_missing(
    *,
    project_id: int,
    report: Callable[[int], None] = lambda done: None,
    only: Iterable[uuid.UUID] | None = None,
) -> int:
    """Embed the inquiries of a project (or `only` these of them) that their language's encoder has not seen; returns how many."""
    done = 0
    installed = [served.encoder_for("a")[0].sha256, served.encoder("ngram").sha256]
    wanted = Inquiry.objects.filter(project_id=project_id, **({} if only is None else {"pk__in": list(only)}))
    missing = (
        wanted.exclude(embeddings__encoder_sha__in=installed)
        .order_by("pk")
        .values_list("pk", "text", "locale")
        .iterator(chunk_size=BATCH)
    )
    while batch := list(islice(missing, BATCH)):
        by_encoder: dict[str, list[tuple[uuid.UUID, str]]] = {}
        encoders = {}
        for pk, text, locale in batch:
            encoder, _ = served.encoder_for(text, locale)
            encoders[encoder.sha256] = encoder
            by_encoder.setdefault(encoder.sha256, []).append((pk, text))
        for sha, rows in by_encoder.items():
            x = encoders[sha].encode([t for _, t in rows])
            Embedding.objects.bulk_create(
                [
                    Embedding(inquiry_id=pk, encoder_sha=sha, vector=to_bytes(v))
                    for (pk, _), v in zip(rows, x, strict=True)
                ],
                ignore_conflicts=True,
            )
        done += len(batch)
        report(done)
    return done
