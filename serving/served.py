"""What this process serves: encoders, and a desk per project that follows promotions and settings without a restart.

A background thread looks every `ENSO_MODEL_POLL_SECONDS` whether a project's revision or production versions moved, builds
the new desk beside the old one and swaps the reference: a request in flight keeps the desk that it began with. A
bundle that does not verify is refused, said in the log and in `refused`, and the one in service stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from django.conf import settings
from django.db import close_old_connections, connection
from numpy.typing import NDArray

from feedback.models import Category, Project, Reply
from serving import engine, zero_shot
from serving.anchors import inquiries
from serving.artifacts import CorruptBundle
from serving.encoder import Encoder, NgramEncoder, language_of, load_encoder
from serving.engine import CategoryInfo, Desk, ReplyInfo, ServedHead
from serving.head import OnnxHead
from serving.models import ModelVersion, Stage
from serving.registry import open_bundle
from serving.routing import Policy
from serving.sentiment import ToneHead, from_anchors

log = logging.getLogger(__name__)

_SIGNATURES = """
SELECT p.id, p.revision || ':' || coalesce(string_agg(m.id || m.manifest_sha, ',' ORDER BY m.id), '')
FROM feedback_project p LEFT JOIN serving_modelversion m ON m.project_id = p.id AND m.stage = 'production'
WHERE p.id = ANY(%s) GROUP BY p.id
"""


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
        raise LookupError(f"encoder {sha256[:12]} is not installed here")

    def sentiment(self, encoder: Encoder, language: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """How inquiries [n, d] are put: a problem is no anger (docs/decisions/0025)."""
        key = (encoder.sha256, language)
        if key not in self._tones:
            self._tones[key] = from_anchors(encoder, inquiries(language))
        return self._tones[key].score(x)

    def desk(self, project_id: int) -> Desk:
        """The project as it is served now."""
        if (known := self._desks.get(project_id)) is not None:
            return known
        with self._lock:
            if project_id not in self._desks:
                self._desks[project_id] = self._build(project_id, _signatures([project_id]).get(project_id, ""))
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

    def predict(self, desk: Desk, texts: Sequence[str], locales: Sequence[str]) -> list[engine.Prediction]:
        """Predictions in the order of `texts`; each text goes to the encoder of its language."""
        groups: dict[tuple[str, str], list[int]] = {}
        encoders: dict[str, Encoder] = {}
        for i, (text, locale) in enumerate(zip(texts, locales, strict=True)):
            encoder, language = self.encoder_for(text, locale)
            encoders[encoder.sha256] = encoder
            groups.setdefault((encoder.sha256, language), []).append(i)
        results: dict[int, engine.Prediction] = {}
        for (sha, language), rows in groups.items():
            encoder = encoders[sha]
            x = encoder.encode([texts[i] for i in rows])
            tones = self.sentiment(encoder, language, x)
            results.update(zip(rows, engine.predict(encoder, self.head(desk, encoder), tones, x), strict=True))
        return [results[i] for i in range(len(texts))]

    def prototypes(self, desk: Desk, encoder: Encoder) -> list[NDArray[np.float32]]:
        """Embeddings of each category's texts [n_c, d], in the desk's order of categories."""
        missing = [t for c in desk.categories.values() for t in c.texts if (encoder.sha256, t) not in self._texts]
        for text, row in zip(missing, encoder.encode(missing), strict=True):
            self._texts[encoder.sha256, text] = row
        return [np.stack([self._texts[encoder.sha256, t] for t in c.texts]) for c in desk.categories.values()]

    def refresh(self) -> None:
        """Rebuild the desks whose settings or production versions moved."""
        for project_id, signature in _signatures(list(self._desks)).items():
            if self._desks[project_id].signature != signature:
                desk = self._build(project_id, signature)
                with self._lock:
                    self._desks[project_id] = desk

    def forget(self) -> None:
        """Start anew (tests, and processes that forked)."""
        with self._lock:
            self._desks.clear()
            self.refused.clear()

    def _zero_shot(self, desk: Desk, encoder: Encoder) -> ServedHead:
        head = zero_shot.ZeroShotHead.of(self.prototypes(desk, encoder))
        return ServedHead(head, tuple(desk.categories), "category-texts")

    def _build(self, project_id: int, signature: str) -> Desk:
        project = Project.objects.get(pk=project_id)
        categories = {c.key: _category(c) for c in Category.objects.filter(project=project, archived_at=None)}
        replies = {
            (r.category.key, r.locale): ReplyInfo(r.pk, r.text)
            for r in Reply.objects.filter(project=project, active=True).select_related("category").order_by("-slot")
        }
        policy = Policy(
            project.confidence_threshold, project.anger_threshold, project.answers_by_hand, project.audit_rate
        )
        desk = Desk(
            project.pk, project.slug, policy, project.overlap, categories, replies, signature, tuple(project.order_templates),
            self._heads(project_id),
        )  # fmt: skip
        for sha in desk.heads:
            log.info("project %s serves %s for encoder %s", project.slug, desk.heads[sha].name, sha[:8])
        return desk

    def _heads(self, project_id: int) -> dict[str, ServedHead]:
        heads: dict[str, ServedHead] = {}
        present = self._desks.get(project_id)
        for version in ModelVersion.objects.filter(project_id=project_id, stage=Stage.PRODUCTION):
            try:
                bundle = open_bundle(version)
                head = OnnxHead.load(bundle)
            except CorruptBundle as error:
                self.refused[version.pk] = str(error)
                log.error("version %s is refused, the one in service stays: %s", version, error)
                if present and version.encoder_sha in present.heads:
                    heads[version.encoder_sha] = present.heads[version.encoder_sha]
                continue
            heads[version.encoder_sha] = ServedHead(head, tuple(bundle.categories), f"v{version.number}", version.pk)
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
                connection.close()


def _signatures(project_ids: list[int]) -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(_SIGNATURES, [project_ids])
        return dict(cursor.fetchall())


def _category(c: Category) -> CategoryInfo:
    words = [c.name, *[str(v) for v in c.names.values()], c.description, *c.examples]
    return CategoryInfo(c.pk, c.key, c.name, c.high_risk, tuple(dict.fromkeys(w for w in words if w)))


served = Served()
