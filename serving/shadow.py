"""The shadow: what a candidate would have answered, computed after the answer was given and never in its way.

A task reads the decisions of a rollout's first step in batches, takes the embedding that was stored with each (a text that the
fast step answered is read again by its encoder) and asks the candidate's head. One row per inquiry, so a task that is killed
goes on where it was.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import engine
from serving.arms import PRODUCTION, Trial
from serving.encoder import Encoder, language_of
from serving.engine import Desk, Prediction
from serving.models import DecisionRecord, Embedding, Rollout, ShadowAnswer
from serving.routing import decide
from serving.served import served

log = logging.getLogger(__name__)
BATCH = 256
MOST = 4_096  # of one call; the next one goes on


def mirror(rollout: Rollout) -> int:
    """Answer what the rollout's decisions were about by its candidate; returns how many."""
    served.desk(rollout.project_id)
    served.refresh()
    desk = served.desk(rollout.project_id)
    trial = desk.trials.get(rollout.encoder_sha)
    if trial is None or trial.rollout_id != rollout.pk:
        return 0
    encoder, done = served.encoder_by_sha(rollout.encoder_sha), 0
    while done < MOST and (batch := _pending(rollout)):
        ShadowAnswer.objects.bulk_create(_answered(desk, trial, encoder, batch), ignore_conflicts=True)
        done += len(batch)
    return done


def _pending(rollout: Rollout) -> list[DecisionRecord]:
    """Decisions that have not been mirrored, oldest first."""
    own = DecisionRecord.objects.filter(rollout=rollout, arm=PRODUCTION)
    mirrored = ShadowAnswer.objects.filter(rollout=rollout).values("inquiry_id")
    return list(own.exclude(pk__in=mirrored).select_related("inquiry").order_by("decided_at")[:BATCH])


def _answered(desk: Desk, trial: Trial, encoder: Encoder, batch: list[DecisionRecord]) -> list[ShadowAnswer]:
    try:
        x = _vectors(encoder, batch)
        return [_row(desk, trial, r, p) for r, p in zip(batch, _predicted(encoder, trial, batch, x), strict=True)]
    except Exception:
        log.exception("the candidate of rollout %s failed in the shadow", trial.rollout_id)
        return [ShadowAnswer(rollout_id=trial.rollout_id, inquiry_id=r.pk, failed=True) for r in batch]


def _vectors(encoder: Encoder, batch: list[DecisionRecord]) -> NDArray[np.float32]:
    """Embeddings [n, d] of the batch, stored ones first."""
    rows = Embedding.objects.filter(inquiry__in=[r.pk for r in batch], encoder_sha=encoder.sha256)
    stored = {e.inquiry_id: bytes(e.vector) for e in rows}
    missing = [r for r in batch if r.pk not in stored]
    if missing:
        fresh = encoder.encode([r.inquiry.text for r in missing])
        stored |= {r.pk: engine.to_bytes(v) for r, v in zip(missing, fresh, strict=True)}
    return engine.from_bytes([stored[r.pk] for r in batch])


def _predicted(encoder: Encoder, trial: Trial, batch: list[DecisionRecord], x: NDArray[np.float32]) -> list[Prediction]:
    tones = np.zeros(len(batch), np.float32)
    for i, r in enumerate(batch):
        language = language_of(r.inquiry.text, r.inquiry.locale)
        tones[i] = served.sentiment(encoder, language, x[i : i + 1])[0]
    return engine.predict(encoder, trial.head, tones, x)


def _row(desk: Desk, trial: Trial, given: DecisionRecord, p: Prediction) -> ShadowAnswer:
    category = desk.categories.get(p.category) if p.category else None
    decision = decide(
        desk.policy, category=p.category, confidence=p.confidence, sentiment=p.sentiment,
        high_risk=category.high_risk if category else False, draw=1.0,
    )  # fmt: skip
    known: dict[str, Any] = {"category_id": category.id if category else None, "confidence": p.confidence}
    return ShadowAnswer(
        rollout_id=trial.rollout_id, inquiry_id=given.pk, escalates=decision.escalate,
        differs=known["category_id"] != given.category_id, **known,
    )  # fmt: skip
