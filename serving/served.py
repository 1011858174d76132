"""What this process serves: encoders, and a desk per project that follows promotions and settings without a restart.

A background thread looks every `ENSO_MODEL_POLL_SECONDS` whether a project's revision, production versions or weight
deltas moved, builds the new desk beside the old one and swaps the reference: a request in flight keeps the desk that it
began with. A new delta alone costs no more than reading it. A bundle or delta that does not verify is refused, said in the
log and in `refused`, and what is in service stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from django.conf import settings
from django.db import close_old_connections
from numpy.typing import NDArray

from feedback.models import Category, Project, Reply
from labeling.ranking import Rules
from serving import arms, engine, loading, policies, steps, students, zero_shot
from serving.anchors import inquiries
from serving.artifacts import CorruptBundle
from serving.encoder import Encoder, NgramEncoder, language_of, load_encoder
from serving.engine import CategoryInfo, Desk, ReplyInfo, ServedHead
from serving.models import ModelVersion, Stage
from serving.routing import Policy
from serving.sentiment import ToneHead, from_anchors

log = logging.getLogger(__name__)
MOST_WARM = 32  # projects that a process opens before it says that it is ready


class Served:
    """Encoders and desks of one process; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._encoders: dict[str, Encoder] = {}
        self._tones: dict[tuple[str, str], ToneHead] = {}
        self._texts: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._desks: dict[int, Desk] = {}
        self._watcher: threading.Thread | None = None
        self.refused: dict[int, str] = {}

    def encoder_for(self, text: str, locale: str = "") -> tuple[Encoder, str]:
        """The encoder that reads this text, and the text's language."""
        language = language_of(text, locale)
        return self.encoder("ngram" if language == "ja" else settings.ENSO_ENCODER), language

    def encoder(self, name: str) -> Encoder:
        if (known := self._encoders.get(name)) is not None:
            return known
        with self._lock:
            if name not in self._encoders:
                path = Path(settings.ENSO_ENCODERS) / name
                self._encoders[name] = NgramEncoder() if name == "ngram" else load_encoder(path)
            return self._encoders[name]

    def encoder_by_sha(self, sha256: str) -> Encoder:
        """The variant that a stored embedding or model belongs to; LookupError where it is not installed."""
        for name in ("ngram", settings.ENSO_ENCODER):
            if (found := self.encoder(name)).sha256 == sha256:
                return found
        if (student := students.opened(sha256)) is not None:
            return student
        raise LookupError(f"encoder {sha256[:12]} is not installed here")

    def sentiment(self, encoder: Encoder, language: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """How inquiries [n, d] are put: a problem is no anger (docs/decisions/0025)."""
        return self.tone(encoder, language).score(x)

    def tone(self, encoder: Encoder, language: str) -> ToneHead:
        """What tells how inquiries of a language are put."""
        key = (encoder.sha256, language)
        if (known := self._tones.get(key)) is None:
            known = self._tones[key] = from_anchors(encoder, inquiries(language))
        return known

    def desk(self, project_id: int) -> Desk:
        """The project as it is served now."""
        if (known := self._desks.get(project_id)) is not None:
            return known
        with self._lock:
            if project_id not in self._desks:
                self._desks[project_id] = self._build(
                    project_id, loading.signatures([project_id]).get(project_id, ("", ""))
                )
            if settings.ENSO_MODEL_POLL_SECONDS > 0:  # 0: whoever changes something calls `refresh`
                self._watch()
            return self._desks[project_id]

    def head(self, desk: Desk, encoder: Encoder) -> ServedHead:
        """The head in production for this encoder variant, or the one made of category texts alone."""
        if (known := desk.heads.get(encoder.sha256)) is not None:
            return known
        with self._lock:
            heads = {**desk.heads, encoder.sha256: self._zero_shot(desk, encoder)}
            object.__setattr__(desk, "heads", heads)  # a cache of what the frozen values determine
        return heads[encoder.sha256]

    def predict(
        self, desk: Desk, texts: Sequence[str], locales: Sequence[str], units: Sequence[str] | None = None
    ) -> list[engine.Prediction]:
        """Predictions in the order of `texts`; each text goes to the encoder of its language.

        With `units` (whose text it is) a candidate answers its share of them; without, production answers all.
        """
        if len(texts) == 1:
            return self._by_encoder(desk, *self.encoder_for(texts[0], locales[0]), list(texts), units)
        groups: dict[tuple[str, str], list[int]] = {}
        encoders: dict[str, Encoder] = {}
        for i, (text, locale) in enumerate(zip(texts, locales, strict=True)):
            encoder, language = self.encoder_for(text, locale)
            encoders[encoder.sha256] = encoder
            groups.setdefault((encoder.sha256, language), []).append(i)
        results: dict[int, engine.Prediction] = {}
        for (sha, language), rows in groups.items():
            given, theirs = [texts[i] for i in rows], [units[i] for i in rows] if units is not None else None
            answers = self._by_encoder(desk, encoders[sha], language, given, theirs)
            results.update(zip(rows, answers, strict=True))
        return [results[i] for i in range(len(texts))]

    def _by_encoder(
        self, desk: Desk, encoder: Encoder, language: str, texts: list[str], units: Sequence[str] | None
    ) -> list[engine.Prediction]:
        """By production, or the candidate where each customer's place in its rollout says so."""
        trial = desk.trials.get(encoder.sha256) if units is not None else None
        if trial is None or units is None:
            return steps.answers(self, desk, encoder, language, texts)
        return arms.answers(
            trial, units,
            production=lambda at: steps.answers(self, desk, encoder, language, [texts[i] for i in at]),
            candidate=lambda at: steps.read(self, encoder, trial.head, language, [texts[i] for i in at]),
        )  # fmt: skip

    def prototypes(self, desk: Desk, encoder: Encoder) -> list[NDArray[np.float32]]:
        """Embeddings of each category's texts [n_c, d], in the desk's order of categories."""
        missing = [t for c in desk.categories.values() for t in c.texts if (encoder.sha256, t) not in self._texts]
        for text, row in zip(missing, encoder.encode(missing), strict=True):
            self._texts[encoder.sha256, text] = row
        return [np.stack([self._texts[encoder.sha256, t] for t in c.texts]) for c in desk.categories.values()]

    def refresh(self) -> None:
        """Rebuild the desks whose settings or production versions moved; where only weights did, swap these."""
        for project_id, (signature, deltas) in loading.signatures(list(self._desks)).items():
            desk = self._desks.get(project_id)
            if desk is None or (desk.signature, desk.deltas) == (signature, deltas):
                continue
            moved = desk.signature != signature
            fresh = self._build(project_id, (signature, deltas)) if moved else self._followed(desk, deltas)
            with self._lock:
                self._desks[project_id] = fresh

    def warm(self) -> None:
        """Before the first request: open what the projects in use serve, and read a text with it."""
        for pk in Project.objects.filter(archived_at=None).order_by("-pk").values_list("pk", flat=True)[:MOST_WARM]:
            try:
                self.predict(self.desk(pk), ["Is everything in its place?"], ["en"])
            except Exception:
                log.exception("project %s could not be made ready; its first request tries again", pk)

    def forget(self) -> None:
        """Start anew (tests, and processes that forked)."""
        with self._lock:
            self._desks.clear()
            self.refused.clear()

    def _zero_shot(self, desk: Desk, encoder: Encoder) -> ServedHead:
        head = zero_shot.ZeroShotHead.of(self.prototypes(desk, encoder))
        return ServedHead(head, tuple(desk.categories), "category-texts")

    def _build(self, project_id: int, signs: tuple[str, str]) -> Desk:
        project = Project.objects.get(pk=project_id)
        categories = {c.key: _category(c) for c in Category.objects.filter(project=project, archived_at=None)}
        replies = {
            (r.category.key, r.locale): ReplyInfo(r.pk, r.text)
            for r in Reply.objects.filter(project=project, active=True).select_related("category").order_by("-slot")
        }
        policy = Policy(
            project.confidence_threshold, project.anger_threshold, project.answers_by_hand, project.audit_rate
        )
        rules = Rules.of(project)
        heads = self._heads(project_id, frozenset(categories))
        desk = Desk(
            project.pk, project.slug, policy, rules, categories, replies, signs[0],
            tuple(project.order_templates), heads, students.steps(project_id, heads),
            trials=loading.trials(project_id, frozenset(categories), self.refused),
            shelf=policies.shelf(project_id, present.shelf if (present := self._desks.get(project_id)) else None),
        )  # fmt: skip
        desk = self._followed(desk, signs[1])
        for sha in desk.heads:
            log.info("project %s serves %s for encoder %s", project.slug, desk.heads[sha].name, sha[:8])
        return desk

    def _followed(self, desk: Desk, deltas: str) -> Desk:
        """The same desk with the weights of these deltas; one that cannot be read is looked for again."""
        wanted = {int(pk): (int(number), sha) for pk, number, sha in (d.split(":") for d in deltas.split(",") if d)}
        known, complete = frozenset(desk.categories), True
        heads, trials = dict(desk.heads), dict(desk.trials)
        for served_head in (*desk.heads.values(), *(t.head for t in desk.trials.values())):
            try:
                moved = loading.moved(served_head, wanted.get(served_head.model_id or 0), known)
            except (CorruptBundle, ValueError) as error:
                complete = False
                self.refused[served_head.model_id or 0] = str(error)
                log.error("a delta is refused, the weights in service stay: %s", error)
                continue
            heads = {sha: moved if h is served_head else h for sha, h in heads.items()}
            trials = {sha: replace(t, head=moved) if t.head is served_head else t for sha, t in trials.items()}
        return replace(desk, heads=heads, trials=trials, deltas=deltas if complete else desk.deltas)

    def _heads(self, project_id: int, categories: frozenset[str]) -> dict[str, ServedHead]:
        heads: dict[str, ServedHead] = {}
        present = self._desks.get(project_id)
        for version in ModelVersion.objects.filter(project_id=project_id, stage=Stage.PRODUCTION):
            try:
                heads[version.encoder_sha] = loading.opened(version, categories)
            except CorruptBundle as error:
                self.refused[version.pk] = str(error)
                log.error("version %s is refused, the one in service stays: %s", version, error)
                if present and version.encoder_sha in present.heads:
                    heads[version.encoder_sha] = present.heads[version.encoder_sha]
        return heads

    def _watch(self) -> None:
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._poll, name="served-watcher", daemon=True)
            self._watcher.start()

    def _poll(self) -> None:
        pause = threading.Event()
        while not pause.wait(settings.ENSO_MODEL_POLL_SECONDS):
            try:
                close_old_connections()
                self.refresh()
            except Exception:
                log.exception("could not look for new versions; what serves stays")
            finally:
                close_old_connections()  # back to the pool where there is one, else kept for the next look


def _category(c: Category) -> CategoryInfo:
    words = [c.name, *[str(v) for v in c.names.values()], c.description, *c.examples]
    texts = tuple(dict.fromkeys(w for w in words if w))
    return CategoryInfo(c.pk, c.key, c.name, c.high_risk, texts, c.overlap, c.restricted)


served = Served()
