"""Stored embeddings: written with the answer, or caught up on for inquiries that came in by import."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from itertools import islice

from feedback.models import Inquiry
from serving.engine import to_bytes
from serving.models import Embedding
from serving.served import served

BATCH = 256


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
