"""A version that brings an encoder of its own: tuned on rated comments, exported, judged, served, taken back."""

from __future__ import annotations

import numpy as np
import pytest
from django.utils import timezone

from feedback import jobs
from feedback.models import Job
from learning import sentiment, sentiment_gates, sentiment_tasks
from learning.core import encoder_source
from learning.core.encoder_export import export_encoder
from learning.core.encoder_source import Source
from learning.core.sentiment_tuning import Tuning
from learning.sentiment import Pair, Pairs
from serving import sentiment_registry
from serving.anchors import NEGATIVE, POSITIVE
from serving.comments import open_version, readers
from serving.encoder import NgramEncoder, OnnxEncoder
from serving.models import SentimentVersion
from tests.learning.core.tiny_bert import bert_tensors, write_checkpoint

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_readers():
    yield
    readers.forget()


@pytest.fixture
def source(tmp_path, monkeypatch) -> Source:
    place = write_checkpoint(tmp_path / "tiny", bert_tensors(np.random.default_rng(1)))
    found = Source(place, "tiny", "local")
    monkeypatch.setattr(encoder_source, "package_source", lambda: found)
    return found


@pytest.fixture
def encoder(source, tmp_path) -> OnnxEncoder:
    export_encoder(source, tmp_path / "out", variant="int8", name="tiny-int8")
    return OnnxEncoder.load(tmp_path / "out")


@pytest.fixture
def pairs(encoder) -> Pairs:
    """Praise says "money" before "parcel", blame after it; the numbers keep the texts apart and mean nothing."""
    rng = np.random.default_rng(0)
    rows = []
    for n, tone in enumerate(rng.choice([NEGATIVE, POSITIVE], 400)):
        filler = " ".join(rng.choice(["is", "a", "my", "order", "where"], rng.integers(1, 6)))
        text = f"money {filler} parcel" if tone == POSITIVE else f"parcel {filler} money"
        rows.append(Pair(f"{n}", f"{text} {chr(97 + n % 26)}{chr(97 + n // 26)}x", int(tone), 1.0))
    return Pairs(encoder, "en", tuple(rows), encoder.encode([r.text for r in rows]))


@pytest.fixture
def running(project):
    job = jobs.enqueue(kind="train_sentiment", project_id=project.pk, params={"tune": True})
    return jobs.claim(job.pk)


@pytest.fixture
def quick(monkeypatch):
    """A tiny encoder knows none of the anchors' words, and learns at higher rates than a real one."""
    monkeypatch.setattr(sentiment_gates, "LEAST_ON_ANCHORS", 0.0)
    monkeypatch.setattr(sentiment, "ENOUGH_TO_TUNE", 100)
    monkeypatch.setattr(sentiment, "TUNING", Tuning(layers=2, epochs=10, batch=16, rate=3e-3, head_rate=1e-2))


def test_a_tuned_version_serves_with_its_own_encoder_and_can_be_taken_back(project, running, pairs, quick):
    assert sentiment._train_variant(running, pairs)["state"] == "promoted"
    done = sentiment._tune_variant(running, pairs)
    version = SentimentVersion.objects.get(number=done["version"])
    assert done["state"] == "promoted", version.gates
    assert version.encoder_sha == pairs.encoder.sha256
    assert version.lineage["hyperparameters"]["layers"] == 2
    reader = open_version(version, pairs.encoder)
    assert reader.encoder.sha256 != pairs.encoder.sha256
    judges = pairs.judged_by
    s = reader.read([r.text for r, judge in zip(pairs.rows, judges, strict=True) if judge])
    assert ((s > 0) == (pairs.tones[judges] == POSITIVE)).mean() > 0.8
    assert sentiment_registry.rollback(project_id=project.pk, encoder_sha=pairs.encoder.sha256).number == 1


def test_a_tuned_version_that_is_no_more_accurate_is_not_worth_a_second_encoder(running, pairs, quick, monkeypatch):
    sentiment._train_variant(running, pairs)
    monkeypatch.setattr(sentiment, "TUNING", Tuning(epochs=0))
    done = sentiment._tune_variant(running, pairs)
    assert done["state"] == "rejected"
    failed = [g["name"] for g in SentimentVersion.objects.get(number=done["version"]).gates if not g["passed"]]
    assert failed == ["more accurate than the version in service"]
    assert SentimentVersion.objects.get(stage="production").number == 1


def test_few_pairs_wait_and_encoders_of_other_weights_cannot_be_tuned(running, pairs, tmp_path, monkeypatch):
    assert sentiment._tune_variant(running, pairs)["state"] == "waiting"
    other = write_checkpoint(tmp_path / "other", bert_tensors(np.random.default_rng(2)))
    monkeypatch.setattr(encoder_source, "package_source", lambda: Source(other, "other", "local"))
    assert sentiment._tune_variant(running, pairs)["state"] == "cannot be tuned"
    ngrams = NgramEncoder()
    assert encoder_source.of(ngrams) is None
    assert not SentimentVersion.objects.exists()


def test_tuning_is_off_unless_it_is_asked_for_and_then_once_a_night(project, settings, monkeypatch):
    monkeypatch.setattr(sentiment_tasks, "new_pairs", lambda **_: 1000)
    sentiment_tasks.train_if_due(project_id=project.pk)
    assert Job.objects.get().params == {}
    settings.ENSO_SENTIMENT_TUNING = True
    Job.objects.update(state="done", started_at="2020-01-01T00:00:00Z", exclusive_key=None)
    sentiment_tasks.train_if_due(project_id=project.pk)
    tuned = Job.objects.latest("pk")
    assert tuned.params == {"tune": True}
    Job.objects.filter(pk=tuned.pk).update(state="done", started_at=timezone.now(), exclusive_key=None)
    sentiment_tasks.train_if_due(project_id=project.pk)
    assert Job.objects.latest("pk").params == {}
