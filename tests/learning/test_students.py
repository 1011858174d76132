"""From a project's unlabeled texts to a student that answers, and to the next one, through the jobs."""

from __future__ import annotations

import pytest

from feedback import jobs
from feedback.models import Fold, Job, JobState, Project
from feedback.services import create_project
from labeling.services import import_label
from learning import cascades
from learning import students as distilling
from learning.core.heads.training import DISTILLED_FEATURES
from learning.models import TrainingRun
from learning.reproduction import reproduce
from serving import registry, students
from serving.head import OnnxHead
from serving.models import Cascade, Student
from serving.served import served
from tests.serving import small_cascade as small

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    return small.write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def teacher(encoders, settings, monkeypatch):
    """The tiny transformer as the project's encoder, and students of its size."""
    monkeypatch.setattr(distilling, "BY_WORDS", small.SMALL)
    monkeypatch.setattr(distilling, "LEAST_TEXTS", 200)
    monkeypatch.setattr(distilling, "RECENT", 30)
    monkeypatch.setattr(cascades, "LEAST_TEXTS", 20)
    return small.use_teacher(encoders, settings)


@pytest.fixture
def project(db):
    return create_project(slug="shop", name="Shop", categories=small.CATEGORIES, audit_rate=0.0)


@pytest.fixture
def shop(project, teacher):
    Project.objects.filter(pk=project.pk).update(confidence_threshold=0.0, anger_threshold=-1.0)
    small.store(project, small.sentences(500))
    return project


def run(kind: str, project: Project) -> Job:
    job = jobs.enqueue(kind=kind, project_id=project.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.errors
    served.refresh()
    return job


def test_a_student_is_distilled_judged_by_its_gates_and_stored_whole(shop, teacher):
    result = run("distill", shop).result
    student = Student.objects.get()
    assert (student.stage, student.teacher_sha) == ("production", teacher.sha256), student.gates
    assert [g["name"] for g in student.gates] == ["cosine", "agreement", "accuracy", "out of domain"]
    assert students.opened(student.encoder_sha).sha256 == result["student"]
    assert result["cosine"] > 0.8
    assert not list(students.folder("x").parent.glob(".unfinished*"))


def test_a_student_that_fails_a_gate_does_not_serve(shop, monkeypatch):
    monkeypatch.setattr("learning.core.student_gates.LEAST_COSINE", 0.9999)
    assert run("distill", shop).result["passed"] is False
    assert Student.objects.get().stage == "rejected"
    assert not students.in_production(project_id=shop.pk)


def test_too_few_texts_make_no_student_and_the_job_says_why(project, teacher):
    small.store(project, small.sentences(50))
    assert "too few" in run("distill", project).result["why"]
    assert not Student.objects.exists()


def test_thresholds_are_chosen_on_held_out_texts_for_the_heads_that_serve_and_it_answers_first(
    shop, teacher, settings, monkeypatch, post
):
    monkeypatch.setattr(cascades, "MARGIN", 0.01)
    run("distill", shop)
    student = students.opened(Student.objects.get().encoder_sha)
    assert cascades.calibrate(project_id=shop.pk) == []  # without heads there is nothing to choose between
    fast, slow = small.make_head(shop, settings, student, name=1), small.make_head(shop, settings, teacher)
    cascades.calibrate(project_id=shop.pk)
    cascade = Cascade.objects.get()
    assert (cascade.fast, cascade.slow) == (fast, slow)
    assert cascade.expected_loss <= cascades.MARGIN
    assert cascade.texts == shop.inquiries.filter(fold=Fold.CALIBRATE).count() >= 20
    served.refresh()
    names = [post("predict", {"text": t, "locale": "en"}).json()["model"] for t in small.sentences(30, seed=3)]
    assert f"v{fast.number}" in names, (names, cascade.least_sure, cascade.least_known, cascade.up_share)
    novel = post("predict", {"text": small.stammered("money back please my order"), "locale": "en"}).json()
    assert novel["model"] == f"v{slow.number}"


def test_with_labels_a_training_follows_that_gives_it_its_head(shop):
    keys = dict(shop.categories.values_list("key", "pk"))
    import_label(inquiry=shop.inquiries.first(), category_id=keys["refund"])
    run("distill", shop)
    assert Job.objects.filter(kind="train", project=shop).exists()


def test_texts_that_move_away_from_it_and_erased_ones_and_many_more_ask_for_another(shop, teacher):
    assert "no student yet" in distilling.due(project_id=shop.pk)
    run("distill", shop)
    first = Student.objects.get()
    assert distilling.due(project_id=shop.pk) is None
    Student.objects.update(outdated=True)
    assert "erased" in distilling.due(project_id=shop.pk)
    Student.objects.update(outdated=False)
    small.store(shop, [small.stammered(text) for text in small.sentences(60, seed=7)])
    assert "new to it" in distilling.due(project_id=shop.pk)
    Student.objects.update(texts=100)
    assert "when it was made" in distilling.due(project_id=shop.pk)
    assert "when it was made" in run("look_for_students", shop).result["why"]
    asked = Job.objects.filter(kind="distill").latest("pk")
    assert asked.state != JobState.DONE
    jobs.run(asked.pk)
    stages = dict(Student.objects.values_list("encoder_sha", "stage"))
    assert stages.pop(first.encoder_sha) == "archived"
    assert list(stages.values()) == ["production"]


def test_a_training_on_its_vectors_makes_a_lean_head_and_can_be_repeated(shop):
    run("distill", shop)
    keys = list(shop.categories.order_by("pk").values_list("pk", flat=True))
    for n, inquiry in enumerate(shop.inquiries.filter(fold=Fold.TRAIN).order_by("pk")[:60]):
        import_label(inquiry=inquiry, category_id=keys[n % len(keys)])
    run("train", shop)
    made = TrainingRun.objects.get(snapshot__encoder_sha=Student.objects.get().encoder_sha)
    head = OnnxHead.load(registry.open_bundle(made.model))
    assert head.features - head.dimension <= DISTILLED_FEATURES
    again = reproduce(made, lambda share, stage: None)
    assert (again.erased, again.changed) == ((), ())
    assert again.same, again.differs
