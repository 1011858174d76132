"""The loop guard on the labels of a project: what was planted is measured, and weights hold the bound."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone
from numpy.typing import NDArray

from feedback import jobs
from feedback.models import Category, Fold, Inquiry, OutboxEvent, Project
from labeling.models import Label
from learning import guarding
from learning.datasets import Dataset, collect
from learning.models import DriftSettings, GuardReport
from serving.models import DecisionRecord
from tests.learning.drift_world import KNOWN, arrive, encoder_sha, label

pytestmark = pytest.mark.django_db


def labeled(project: Project, *, shown: int, blind: int, copied: float, seed: int = 0) -> float:
    """Labels of people of whom some copy the suggestion that they saw; returns the share of all labels that are copies."""
    rng, n = np.random.default_rng(seed), shown + blind
    truth: NDArray[np.int64] = rng.choice(KNOWN, n)
    said = np.where(rng.random(n) < 0.6, truth, (truth + 1) % len(KNOWN))
    copies = (np.arange(n) < shown) & (rng.random(n) < copied)
    rows = arrive(project, truth.tolist(), seed=seed, since=timezone.now() - timedelta(days=1))
    categories = list(Category.objects.filter(project=project).order_by("pk"))
    DecisionRecord.objects.bulk_create(
        DecisionRecord(
            inquiry=i, model_name="v1", encoder_sha=encoder_sha(), category=categories[k], confidence=0.8, decision="human",
            propensity=0.0,
        )
        for i, k in zip(rows, said, strict=True)
    )  # fmt: skip
    given = np.where(copies, said, truth).tolist()
    label(project, rows[:shown], given[:shown], saw=True)
    label(project, rows[shown:], given[shown:])
    return float(copies.mean())


def dataset(project: Project) -> Dataset:
    return collect(project_id=project.pk, encoder_sha=encoder_sha())


def measured(project: Project) -> guarding.Guard:
    known = dataset(project)
    found = guarding.measured(guarding.sources(known.rows), known.weights(), project_id=project.pk)
    assert found is not None
    return found


@pytest.mark.parametrize("copied", [0.0, 0.4, 0.9])
def test_the_interval_of_alpha_covers_what_was_copied(project: Project, copied: float) -> None:
    planted = labeled(project, shown=400, blind=300, copied=copied)
    alpha = measured(project).alpha
    assert alpha.lower <= planted <= alpha.upper
    assert alpha.upper - alpha.lower < 0.25


def test_without_blind_labels_only_the_bounds_are_known_and_the_alarm_says_so(project: Project) -> None:
    planted = labeled(project, shown=200, blind=0, copied=0.5)
    found = measured(project)
    assert found.alpha.lower == 0.0
    assert found.alpha.lower <= planted <= found.alpha.upper == found.alpha.ceiling
    assert "unmeasured" in found.codes


def test_a_training_that_would_learn_from_itself_is_weighed_down_to_the_bound(project: Project) -> None:
    labeled(project, shown=500, blind=100, copied=0.9)
    known = dataset(project)
    weighed, found, left = guarding.guarded(known)
    assert found is not None
    assert found.alpha.upper >= 0.5
    assert left is not None
    assert left <= 0.5 + 1e-9
    own = guarding.sources(weighed.rows).maybe_own
    assert weighed.weights()[own].sum() <= 0.5 * weighed.weights().sum() + 1e-6
    assert weighed.weights()[own].sum() < known.weights()[own].sum()


def test_a_project_may_leave_its_labels_as_they_are(project: Project) -> None:
    labeled(project, shown=500, blind=100, copied=0.9)
    DriftSettings.objects.create(project=project, guard_weights=False)
    known = dataset(project)
    weighed, _, left = guarding.guarded(known)
    assert weighed is known
    assert left is None


def test_labels_outside_the_train_fold_are_no_part_of_alpha(project: Project) -> None:
    labeled(project, shown=200, blind=200, copied=0.9)
    Inquiry.objects.filter(label__saw_suggestion=True).update(fold=Fold.TEST)
    assert measured(project).alpha.upper == 0.0


def test_an_alarm_is_told_once_while_it_lasts(project: Project) -> None:
    labeled(project, shown=300, blind=60, copied=0.9)
    for _ in range(2):
        job = jobs.enqueue(kind="guard", project_id=project.pk)
        jobs.run(job.pk)
        job.refresh_from_db()
        assert job.state == "done", job.errors
    assert GuardReport.objects.count() == 2
    assert OutboxEvent.objects.filter(kind="guard.alarm").count() == 1
    assert "alpha" in GuardReport.objects.latest("pk").alarms


def test_a_withdrawn_label_does_not_count(project: Project) -> None:
    labeled(project, shown=100, blind=100, copied=0.9)
    Label.objects.filter(saw_suggestion=True).update(category=None)
    assert measured(project).alpha.seen == 0.0
