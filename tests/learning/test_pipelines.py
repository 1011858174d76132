"""The real path: labels in PostgreSQL → snapshot → heads → ONNX → gates → production → another answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feedback import jobs
from feedback.models import Fold, Inquiry, JobState, Project
from feedback.services import add_categories
from labeling.models import Label, LabelTask
from learning import fitting, pipelines
from learning.models import Snapshot, TrainingRun
from learning.sample.grammar import generate
from serving import registry, services
from serving.artifacts import CorruptBundle
from serving.engine import from_bytes
from serving.models import Embedding, ModelVersion
from serving.served import served

pytestmark = pytest.mark.django_db


def accuracy(project, texts, truth) -> float:
    answers = services.predict(project_id=project.pk, texts=texts, locales=["en"] * len(texts))
    return float(np.mean([a["category"] == t for a, t in zip(answers, truth, strict=True)]))


def test_labels_make_a_better_model_that_serves_at_once(desk, add_labels, train):
    texts, truth = zip(*generate(120, seed=99, locale="en"), strict=True)
    before = accuracy(desk, texts, truth)
    add_labels(desk, 150)
    job = train(desk)
    assert job.state == JobState.DONE, job.errors
    version = ModelVersion.objects.get()
    assert version.stage == "production"
    answer = services.predict(project_id=desk.pk, texts=["hello"], locales=["en"])[0]
    assert answer["model"] == "v1"
    assert accuracy(desk, texts, truth) > before


@pytest.mark.usefixtures("small_heads")
def test_a_version_tells_what_it_was_made_from(desk, add_labels, train):
    add_labels(desk, 60)
    train(desk)
    version, run = ModelVersion.objects.get(), TrainingRun.objects.get()
    assert version.lineage["data"] == Snapshot.objects.get().sha256
    assert version.lineage["weights"] == version.manifest_sha
    assert version.lineage["labels"] == 60
    assert {"hyperparameters", "environment", "seed"} <= version.lineage.keys()
    assert run.model == version
    assert all(g["passed"] for g in version.gates)


def test_the_same_labels_give_the_same_bundle(desk, add_labels, train):
    add_labels(desk, 60)
    train(desk)
    train(desk)
    first, second = ModelVersion.objects.order_by("number")
    assert first.manifest_sha == second.manifest_sha
    assert services.predict(project_id=desk.pk, texts=["hello"], locales=["en"])[0]["model"] == "v2"


@pytest.mark.usefixtures("small_heads")
def test_labels_of_the_test_fold_never_reach_the_training(desk, add_labels, train, monkeypatch):
    add_labels(desk, 80)
    Label.objects.first().inquiry.__class__.objects.filter(label__pk__in=Label.objects.values("pk")[:10]).update(
        fold=Fold.TEST
    )
    seen = []
    real = fitting.train_heads
    monkeypatch.setattr(fitting, "train_heads", lambda x, y, **kw: seen.append(np.asarray(x)) or real(x, y, **kw))
    train(desk)
    held_out = from_bytes(
        [bytes(v) for v in Embedding.objects.filter(inquiry__fold=Fold.TEST).values_list("vector", flat=True)]
    )
    assert len(held_out) >= 10
    trained = seen[0]
    assert not (np.abs(trained[:, None, :] - held_out[None, :, :]).max(axis=2) < 1e-6).any()


@pytest.mark.usefixtures("small_heads")
def test_each_language_gets_the_head_of_its_encoder(desk, add_labels, train):
    add_labels(desk, 40)
    add_labels(desk, 40, seed=1, locale="ja")
    train(desk)
    assert ModelVersion.objects.filter(stage="production").values("encoder_sha").distinct().count() == 2


@pytest.mark.usefixtures("small_heads")
def test_a_worse_model_is_stopped_by_the_gate_and_the_old_one_stays(desk, add_labels, train, monkeypatch):
    add_labels(desk, 200)
    # The gates need evidence: half of the labels is more than their own fold would hold.
    ids = list(Inquiry.objects.order_by("pk").values_list("pk", flat=True))
    Inquiry.objects.filter(pk__in=ids[:100]).update(fold=Fold.TRAIN)
    Inquiry.objects.filter(pk__in=ids[100:]).update(fold=Fold.TEST)
    train(desk)
    real = pipelines.fit

    def shuffled(material, *args):
        dataset = material.dataset
        categories = np.random.default_rng(0).permutation([r.category for r in dataset.rows])
        rows = tuple(replace(r, category=str(c)) for r, c in zip(dataset.rows, categories, strict=True))
        return real(replace(material, dataset=replace(dataset, rows=rows)), *args)

    monkeypatch.setattr(pipelines, "fit", shuffled)
    train(desk)
    good, bad = ModelVersion.objects.order_by("number")
    assert (good.stage, bad.stage) == ("production", "rejected")
    assert any(not g["passed"] for g in bad.gates)
    with pytest.raises(registry.Problem, match="failed a gate"):
        registry.promote(version_id=bad.pk)


@pytest.mark.usefixtures("small_heads")
def test_a_damaged_bundle_is_refused_at_load_and_what_serves_stays(desk, add_labels, train):
    add_labels(desk, 60)
    train(desk)
    add_labels(desk, 60, seed=5)
    train(desk)
    first, second = ModelVersion.objects.order_by("number")
    registry.rollback(project_id=desk.pk, encoder_sha=second.encoder_sha)
    served.refresh()
    weights = registry.bundle_path(second.manifest_sha) / "weights.npy"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptBundle, match=r"weights\.npy"):
        registry.open_bundle(second)
    with pytest.raises(registry.Problem, match="cannot serve"):
        registry.promote(version_id=second.pk)
    # Even one that got into production by another hand is refused at load, and the one in service stays.
    ModelVersion.objects.filter(pk=first.pk).update(stage="archived")
    ModelVersion.objects.filter(pk=second.pk).update(stage="production")
    served.refresh()
    assert services.predict(project_id=desk.pk, texts=["hello"], locales=["en"])[0]["model"] == "v1"
    assert "weights.npy" in served.refused[second.pk]


@pytest.mark.usefixtures("small_heads")
def test_rolling_back_serves_the_earlier_version_again(desk, add_labels, train):
    add_labels(desk, 60)
    train(desk)
    add_labels(desk, 60, seed=5)
    train(desk)
    sha = ModelVersion.objects.first().encoder_sha
    assert registry.rollback(project_id=desk.pk, encoder_sha=sha).number == 1
    with pytest.raises(registry.Problem, match="No earlier version"):
        registry.rollback(project_id=desk.pk, encoder_sha=sha)


@pytest.mark.usefixtures("small_heads")
def test_a_resumed_training_does_not_repeat_a_finished_run(desk, add_labels, monkeypatch):
    add_labels(desk, 40)
    add_labels(desk, 40, seed=1, locale="ja")
    job = jobs.enqueue(kind="train", project_id=desk.pk)
    calls = []
    real = fitting.train_heads

    def dies_at_the_second(x, y, **kw):
        calls.append(len(x))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(x, y, **kw)

    monkeypatch.setattr(fitting, "train_heads", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        jobs.run(job.pk)
    assert ModelVersion.objects.count() == 1
    jobs.Job.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
    jobs.sweep()
    jobs.run(job.pk)
    assert len(calls) == 3
    assert ModelVersion.objects.filter(stage="production").count() == 2


@pytest.mark.usefixtures("small_heads")
def test_a_training_that_lost_its_job_promotes_nothing(desk, add_labels, monkeypatch):
    add_labels(desk, 40)
    job = jobs.enqueue(kind="train", project_id=desk.pk)
    real = pipelines.export

    def overtaken(*args):
        jobs.Job.objects.filter(pk=job.pk).update(token="00000000-0000-0000-0000-000000000000")
        return real(*args)

    monkeypatch.setattr(pipelines, "export", overtaken)
    jobs.run(job.pk)
    assert not ModelVersion.objects.exists()


@pytest.mark.usefixtures("small_heads")
def test_after_a_promotion_the_open_tasks_are_ranked_anew(desk, add_labels, train):
    Project.objects.update(confidence_threshold=1.0)
    served.forget()
    from feedback.services import NewInquiry

    for n, (text, _) in enumerate(generate(20, seed=3, locale="en")):
        new = NewInquiry(text=text, request_sha=b"0" * 32, external_id=f"open-{n}", locale="en")
        services.answer_inquiry(project_id=desk.pk, app_id=None, new=new)
    before = dict(LabelTask.objects.values_list("pk", "priority"))
    add_labels(desk, 60)
    job = train(desk)
    after = dict(LabelTask.objects.filter(inquiry__fold=Fold.TRAIN).values_list("pk", "priority"))
    assert job.result["rescored"] > 0
    assert after != {pk: before[pk] for pk in after}
    assert sorted(after.values())[-1] == 1.0
    assert set(LabelTask.objects.exclude(inquiry__fold=Fold.TRAIN).values_list("priority", flat=True)) <= {-1.0}


def test_a_category_that_was_added_a_moment_ago_is_learned(shop, train):
    served.desk(shop.pk)  # the learner has the desk open, and has not looked for changes since
    add_categories(project_id=shop.pk, categories=[{"key": "scam", "name": "Scam", "description": "False messages."}])
    train(shop)
    newest = ModelVersion.objects.filter(project=shop).order_by("-number")[0]
    assert "scam" in newest.lineage["category_ids"]
