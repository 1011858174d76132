"""Rating + comment pairs → the head that reads a project's comments: collect → learn → export → gates → promote.

One head per encoder variant. A killed job resumes: variants that are done stand in its checkpoint, bundles lie under their
hashes, and promotion is one fenced transaction.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
from django.conf import settings
from django.db import transaction
from numpy.typing import NDArray

from feedback import jobs
from feedback.models import Event, Fold
from feedback.texts import fold_of, group_digest
from learning import sentiment_gates as gates
from learning.core import encoder_source
from learning.core.encoder_export import export_encoder
from learning.core.export import export_head
from learning.core.heads.features import FeatureMap
from learning.core.sentiment_head import LearnedTone, learn, tone_of
from learning.core.sentiment_tuning import Rated, Tuning, fine_tune
from learning.environment import Environment
from serving import sentiment_registry as registry
from serving import storage
from serving.anchors import TONES, opinions
from serving.artifacts import Bundle, write_bundle
from serving.comments import Reader, open_version, readers
from serving.encoder import Encoder, OnnxEncoder
from serving.head import BIAS, GRAPH, WEIGHTS, npy_bytes
from serving.models import SentimentStage
from serving.sentiment import ToneHead
from serving.served import served

SEED = 0
MOST = 10_000  # the newest pairs
ENOUGH_TO_TUNE = 1_000
TUNING = Tuning()
NO_FILES: Mapping[str, bytes] = MappingProxyType({})
FEWEST = 30  # fewer cannot say what the anchors have wrong
# One customer's comments count as at most so many: a single voice must not set what words mean. All that nobody vouches
# for are one voice, and neither begin a training nor judge its result.
MOST_PER_CUSTOMER = 20.0


@dataclass(frozen=True)
class Pair:
    """A comment and the tone of the rating that the same customer gave to the same inquiry.

    ``vouched``: both came from the app's server or from a customer whom it signed for.
    """

    event: str
    text: str
    tone: int
    weight: float
    vouched: bool = True

    @property
    def group(self) -> bytes:
        return group_digest(self.text)


@dataclass(frozen=True)
class Pairs:
    """The pairs of one encoder variant with their unit embeddings [n, d]."""

    encoder: Encoder
    language: str
    rows: tuple[Pair, ...]
    x: NDArray[np.float32]

    @property
    def tones(self) -> NDArray[np.int64]:
        return np.array([r.tone for r in self.rows], dtype=np.int64)

    @property
    def weights(self) -> NDArray[np.float64]:
        return np.array([r.weight for r in self.rows], dtype=np.float64)

    @property
    def groups(self) -> NDArray[np.int64]:
        """Near-duplicates have the same number."""
        return np.unique([r.group for r in self.rows], return_inverse=True)[1].astype(np.int64)

    @property
    def learned_from(self) -> NDArray[np.bool_]:
        """The train fold of the comment's text. Near-duplicates are on one side."""
        return np.array([fold_of(r.group) == Fold.TRAIN for r in self.rows], dtype=bool)

    @property
    def vouched(self) -> NDArray[np.bool_]:
        return np.array([r.vouched for r in self.rows], dtype=bool)

    @property
    def judged_by(self) -> NDArray[np.bool_]:
        """The other folds, of pairs that somebody vouches for."""
        return np.asarray(~self.learned_from & self.vouched, dtype=bool)


_NEAREST_RATINGS = """
SELECT c.id, c.text, r.value, c.customer, LEAST(c.weight, r.weight) AS weight, p.rating_min, p.rating_max
FROM feedback_event c
JOIN feedback_project p ON p.id = c.project_id
JOIN LATERAL (
    SELECT value, weight FROM feedback_event r
    WHERE r.inquiry_id = c.inquiry_id AND r.kind = 'rating' AND r.customer = c.customer AND r.value IS NOT NULL
    ORDER BY r.weight DESC, abs(extract(epoch FROM r.occurred_at - c.occurred_at)), r.id LIMIT 1
) r ON true
WHERE c.project_id = %s AND c.kind = 'comment' AND c.text <> '' AND c.inquiry_id IS NOT NULL
ORDER BY c.id DESC LIMIT %s
"""


def collect_pairs(*, project_id: int) -> list[Pair]:
    """The newest comments with the rating nearest in time (a vouched one before any other), oldest first."""
    rows: list[Any] = list(Event.objects.raw(_NEAREST_RATINGS, [project_id, MOST]))
    spoken: dict[str, float] = {}
    for r in rows:
        spoken[_voice(r)] = spoken.get(_voice(r), 0.0) + r.weight
    return [
        Pair(
            str(r.pk), r.text, tone_of(r.value or 0.0, low=r.rating_min, high=r.rating_max),
            r.weight * MOST_PER_CUSTOMER / max(spoken[_voice(r)], MOST_PER_CUSTOMER), r.weight == 1,
        )
        for r in reversed(rows)
        if r.weight > 0
    ]  # fmt: skip


def _voice(row: Event) -> str:
    """Whose weight is capped: a customer, all anonymous pages together, or (an app's server names nobody) the event alone."""
    return "anonymous" if row.weight < 1 else f"customer {row.customer}" if row.customer else str(row.pk)


def by_encoder(rows: Sequence[Pair]) -> list[Pairs]:
    """The pairs of each variant that reads their language, most pairs first."""
    found: dict[str, tuple[Encoder, str, list[Pair]]] = {}
    for row in rows:
        encoder, language = served.encoder_for(row.text)
        found.setdefault(encoder.sha256, (encoder, language, []))[2].append(row)
    ordered = sorted(found.values(), key=lambda f: (-len(f[2]), f[0].sha256))
    return [Pairs(e, lang, tuple(p), e.encode([r.text for r in p])) for e, lang, p in ordered]


def train_sentiment(running: jobs.Running) -> dict[str, Any]:
    """Handler of `train_sentiment` jobs: one version per variant that has enough pairs."""
    running.report(0.02, "collecting rated comments")
    every = by_encoder(collect_pairs(project_id=running.job.project_id))
    done: dict[str, Any] = dict(running.job.checkpoint.get("done", {}))
    for n, pairs in enumerate(every):
        sha = pairs.encoder.sha256
        if sha in done:
            continue
        running.report(0.1 + 0.85 * n / len(every), f"learning from {len(pairs.rows)} comments")
        done[sha] = _train_variant(running, pairs)
        running.save_checkpoint({"done": done})
    for pairs in every if running.job.params.get("tune") else ():
        key = f"tuned {pairs.encoder.sha256}"
        if key not in done:
            running.report(0.96, "tuning the encoder")
            done[key] = _tune_variant(running, pairs)
            running.save_checkpoint({"done": done})
    return {"runs": list(done.values())}


def _train_variant(running: jobs.Running, pairs: Pairs) -> dict[str, Any]:
    train = pairs.learned_from
    tones = pairs.tones[train]
    vouched = pairs.vouched[train]
    if vouched.sum() < FEWEST or len(np.unique(tones[vouched])) < 2:
        return {"encoder": pairs.encoder.sha256, "state": "waiting", "pairs": int(vouched.sum())}
    anchored = readers.anchored(pairs.encoder, pairs.language).head
    assert isinstance(anchored, ToneHead)
    learned = learn(
        pairs.x[train], tones, anchored, weights=pairs.weights[train], groups=pairs.groups[train], seed=SEED
    )
    return _judge(running, pairs, learned, *export(learned, pairs))


def _tune_variant(running: jobs.Running, pairs: Pairs) -> dict[str, Any]:
    """A version with an encoder of its own, which serves where it reads better than what is in service by then."""
    source = encoder_source.of(pairs.encoder)
    count = int((pairs.vouched & pairs.learned_from).sum())
    if source is None or count < ENOUGH_TO_TUNE:
        state = "waiting" if source is not None else "cannot be tuned"
        return {"encoder": pairs.encoder.sha256, "state": state, "pairs": count}
    chosen = pairs.learned_from.nonzero()[0]
    rated = Rated(
        [pairs.rows[i].text for i in chosen], pairs.tones[chosen], pairs.weights[chosen], pairs.groups[chosen]
    )
    model = fine_tune(rated, opinions(pairs.language), directory=source.directory, tuning=TUNING, seed=SEED)
    learned = LearnedTone(
        model.head(), model.temperature, 0.0, {"pairs": len(chosen), "held_back_losses": model.losses}
    )
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "encoder"
        own = replace(source, name=f"{source.name}-sentiment", references=None)
        export_encoder(own, place, variant="int8", name=own.name, checkpoint=model.checkpoint())
        files = {p.name: p.read_bytes() for p in place.iterdir()}
        encoder = OnnxEncoder.load(place)
        tuned = replace(pairs, encoder=encoder, x=encoder.encode([r.text for r in pairs.rows]))
    return _judge(running, pairs, learned, *export(learned, tuned, files), tuned=tuned)


def export(learned: LearnedTone, pairs: Pairs, encoder: Mapping[str, bytes] = NO_FILES) -> tuple[Bundle, float]:
    """The head (with the encoder's files, where it has its own) as a bundle, and its parity on up to 1,000 comments."""
    graph, parity = export_head(
        FeatureMap(pairs.encoder.dim), weights=learned.head.weights, bias=learned.head.bias, categories=TONES,
        temperature=learned.temperature, check_on=pairs.x[:1000],
    )  # fmt: skip
    files = {**encoder, GRAPH: graph, WEIGHTS: npy_bytes(learned.head.weights), BIAS: npy_bytes(learned.head.bias)}
    meta = {
        "kind": "sentiment", "categories": list(TONES), "encoder_sha256": pairs.encoder.sha256,
        "temperature": learned.temperature, "preprocessing": {"normalise": "unit"},
    }  # fmt: skip
    bundle = write_bundle(Path(settings.ENSO_ARTIFACTS), files, meta)
    storage.put(bundle.path)
    return bundle, parity


def _judge(
    running: jobs.Running,
    pairs: Pairs,
    learned: LearnedTone,
    bundle: Bundle,
    parity: float,
    *,
    tuned: Pairs | None = None,
) -> dict[str, Any]:
    """Register the version with its gates, and promote it or say why not; fenced."""
    project_id = running.job.project_id
    serving = _in_service(project_id, pairs)
    own, judges = tuned or pairs, pairs.judged_by
    texts = [r.text for r, judge in zip(pairs.rows, judges, strict=True) if judge]
    compare = gates.not_worse if tuned is None else gates.better
    results = [
        gates.parity(parity),
        gates.anchors(learned.probabilities(own.encoder.encode(opinions(own.language).texts)), own.language),
        *compare(learned.probabilities(own.x[judges]), serving, texts, pairs.tones[judges]),
    ]
    passed = all(r.passed for r in results)
    settings_of = {"C": learned.C} if tuned is None else asdict(TUNING)
    with transaction.atomic():
        running.hold()
        version = registry.register(
            project_id=project_id, bundle=bundle, encoder_sha=pairs.encoder.sha256, metrics=learned.metrics,
            gates=[asdict(r) for r in results],
            stage=SentimentStage.STAGING if passed else SentimentStage.REJECTED,
            lineage={
                "weights": bundle.sha256, "data": snapshot_sha(pairs), "labels": len(pairs.rows), "seed": SEED,
                "hyperparameters": settings_of, "environment": asdict(Environment.here()), "job": running.job.pk,
            },
        )  # fmt: skip
        if passed:
            registry.promote(version_id=version.pk)
    state = "promoted" if passed else "rejected"
    return {"encoder": pairs.encoder.sha256, "state": state, "version": version.number, "pairs": len(pairs.rows)}


def _in_service(project_id: int, pairs: Pairs) -> Reader:
    """What reads these comments now: the version in production, else (or where it is damaged) the anchors."""
    version = registry.in_production(project_id=project_id, encoder_sha=pairs.encoder.sha256)
    if version is not None:
        try:
            return open_version(version, pairs.encoder)
        except gates.CorruptBundle:
            gates.log.error("%s cannot be compared with", version)
    return readers.anchored(pairs.encoder, pairs.language)


def snapshot_sha(pairs: Pairs) -> str:
    """What was learned from, as a hash of ids, tones, weights and hashes of texts (no text)."""
    rows = [[r.event, r.tone, r.weight, hashlib.sha256(r.text.encode()).hexdigest()] for r in pairs.rows]
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()
