"""The steps of the cascade one after the other: what the student is sure of, what the encoder reads, what is left to people.

A step that is broken answers nothing, and what stands behind it does: the encoder behind the student, people behind the
encoder.
"""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from feedback.problems import Problem
from serving import engine, reading
from serving.cascade import Step, goes_up, one_goes_up
from serving.encoder import Encoder
from serving.engine import Desk, ServedHead
from serving.reading import Unreadable
from serving.sentiment import ToneHead

log = logging.getLogger(__name__)


class Models(Protocol):
    """What a process has open (serving/served.py)."""

    def head(self, desk: Desk, encoder: Encoder) -> ServedHead: ...

    def tone(self, encoder: Encoder, language: str) -> ToneHead: ...

    def sentiment(self, encoder: Encoder, language: str, x: NDArray[np.float32]) -> NDArray[np.float32]: ...


def read(
    models: Models, encoder: Encoder, head: ServedHead, language: str, texts: list[str]
) -> list[engine.Prediction]:
    """By the encoder and this head; where the encoder is broken, both arms of a rollout are unread alike."""
    try:
        x = reading.vectors(encoder, texts)
    except Unreadable:
        return [engine.unread(encoder)] * len(texts)
    return engine.predict(encoder, head, models.sentiment(encoder, language, x), x)


def answers(models: Models, desk: Desk, encoder: Encoder, language: str, texts: list[str]) -> list[engine.Prediction]:
    """By the fast step where there is one and it is sure, else by the encoder itself."""
    step = desk.steps.get(encoder.sha256)
    if step is not None and len(texts) == 1:
        alone = _fast_one(models, desk, encoder, step, language, texts[0])
        return [alone] if alone else _slow(models, desk, encoder, language, texts)
    kept = _fast(models, desk, encoder, step, language, texts) if step else dict[int, engine.Prediction]()
    if rest := [i for i in range(len(texts)) if i not in kept]:
        kept |= zip(rest, _slow(models, desk, encoder, language, [texts[i] for i in rest]), strict=True)
    return [kept[i] for i in range(len(texts))]


def _slow(models: Models, desk: Desk, encoder: Encoder, language: str, texts: list[str]) -> list[engine.Prediction]:
    """By the encoder; by nobody where its head is broken, and then people answer."""
    try:
        return read(models, encoder, models.head(desk, encoder), language, texts)
    except Problem:  # too busy, not broken
        raise
    except Exception:
        log.exception("the head of encoder %s failed, people answer", encoder.sha256[:12])
        return [engine.unread(encoder)] * len(texts)


def _fast(
    models: Models, desk: Desk, slow: Encoder, step: Step, language: str, texts: list[str]
) -> dict[int, engine.Prediction]:
    """What the fast step answers, by the place of the text; nothing where it is broken."""
    head = desk.heads[step.encoder.sha256]
    try:
        x, known = reading.vectors_with_known_share(step.encoder, texts)
        tones, p = models.sentiment(step.encoder, language, x), head.head.predict(x)
    except Unreadable:
        return {}
    except Exception:
        log.exception("the head of student %s failed, its teacher answers", step.encoder.sha256[:12])
        return {}
    up = goes_up(step, desk.policy, p, known=known, tones=tones, risky=desk.risky(head.categories))
    return {
        int(i): engine.one(step.encoder, head, p[i], float(tones[i]), x[i], teacher_sha=slow.sha256)
        for i in np.flatnonzero(~up)
    }


def _fast_one(
    models: Models, desk: Desk, slow: Encoder, step: Step, language: str, text: str
) -> engine.Prediction | None:
    """The same for one text, without arrays of one row; None where the text goes up, or the step is broken."""
    head = desk.heads[step.encoder.sha256]
    try:
        x, known = reading.one_with_known_share(step.encoder, text)
        tone = models.tone(step.encoder, language).score_one(x)
        p: list[float] = head.head.predict(x[None, :])[0].tolist()
    except Unreadable:
        return None
    except Exception:
        log.exception("the head of student %s failed, its teacher answers", step.encoder.sha256[:12])
        return None
    if one_goes_up(step, desk.policy, p, known=known, tone=tone, risky=desk.risky(head.categories)):
        return None
    return engine.of_shares(step.encoder, head, p, tone, x, teacher_sha=slow.sha256)
