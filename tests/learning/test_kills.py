"""kill -9 during training, export, promotion and the publication of a delta.

Each process is a real one, killed while it waits where it is wanted: a lock that this test holds in the database stops it
between two writes, so that nothing depends on how fast the machine is. Whatever it was doing, what served still serves, no
half of anything is to be seen, and another process finishes the work.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from feedback import jobs
from feedback.models import Job, JobState, Project
from learning import fitting
from learning.models import RunState, TrainingRun
from learning.owner import Owner
from learning.snapshots import read_manifest
from serving import services
from serving.artifacts import load_bundle
from serving.models import Delta, LiveState, ModelVersion, Stage
from serving.served import served
from tests.databases import blocked, held
from tests.learning.following import TEXT, ask, exact, follower_of, keys, label
from tests.learning.killed import given_up, process, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes, pytest.mark.usefixtures("small_heads")]
PROJECT = "SELECT 1 FROM feedback_project WHERE slug = 'sample' FOR NO KEY UPDATE"
PRODUCTION = "SELECT 1 FROM serving_modelversion WHERE stage = 'production' FOR NO KEY UPDATE"
LIVE_STATE = "SELECT 1 FROM serving_livestate FOR UPDATE"


def answering(project: Project) -> str:
    served.refresh()
    return str(services.predict(project_id=project.pk, texts=[TEXT], locales=["en"])[0]["model"])


def nothing_is_half() -> None:
    """Whatever has a name verifies to its last byte."""
    root = Path(settings.ENSO_ARTIFACTS)
    for bundle in root.iterdir():
        if re.fullmatch("[0-9a-f]{64}", bundle.name):
            load_bundle(bundle, bundle.name)
    for manifest in (root / "snapshots").glob("*.json"):
        read_manifest(manifest.stem)
    assert ModelVersion.objects.filter(stage=Stage.PRODUCTION).count() == 1


def test_a_training_killed_at_any_step_leaves_what_serves_and_is_finished_by_another(
    shop: Project, add_labels: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_labels(shop, 40, seed=3)
    with process("train", shop.slug, stop_at="fitting") as child:
        until(lambda: Job.objects.filter(kind="train", state=JobState.RUNNING, stage__startswith="fitting"), child)
    assert answering(shop) == "v1"
    given_up()

    with held(PROJECT), process("train", shop.slug) as child:
        until(blocked, child)  # the bundle lies there, the version is not registered yet
    assert ModelVersion.objects.count() == 1
    assert answering(shop) == "v1"
    nothing_is_half()
    job = given_up()
    assert job.attempt == 2

    fitted: list[int] = []
    monkeypatch.setattr(fitting, "train_heads", lambda *a, **k: fitted.append(1))
    with held(PRODUCTION), process("train", shop.slug) as child:
        until(blocked, child)  # registered and judged; the old version is about to be archived
    assert list(ModelVersion.objects.order_by("number").values_list("stage", flat=True)) == ["production", "none"]
    assert answering(shop) == "v1"
    nothing_is_half()
    Job.objects.update(attempt=2)  # three attempts are all that a job has; a fourth is this test's wish
    jobs.run(given_up().pk)

    run = TrainingRun.objects.get(job=job)
    assert (run.state, run.model.number, fitted) == (RunState.PROMOTED, 2, [])
    assert list(ModelVersion.objects.order_by("number").values_list("stage", flat=True)) == ["archived", "production"]
    assert answering(shop) == "v2"
    nothing_is_half()
    assert not list((Path(settings.ENSO_ARTIFACTS) / "checkpoints").glob("*.head"))


def test_a_follower_killed_while_it_publishes_loses_no_label_and_counts_none_twice(
    shop: Project, keeper: Owner
) -> None:
    inquiry = ask(shop, TEXT)
    with process("follow_labels") as child:
        until(lambda: LiveState.objects.filter(token__isnull=False), child)
        with held(LIVE_STATE):
            label(inquiry, keys(shop)[0])
            until(blocked, child)  # the file is written, the row that names it is not
            child.kill()
            child.join()
    version = ModelVersion.objects.get()
    assert list((Path(settings.ENSO_ARTIFACTS) / "deltas" / version.manifest_sha).glob("*.delta"))
    assert not Delta.objects.exists()
    served.refresh()
    assert next(iter(served.desk(shop.pk).heads.values())).delta == 0

    keeper.step()
    follower = follower_of(keeper)
    assert (follower.changes, exact(follower) < 1e-9) == (1, True)
    assert list(Delta.objects.values_list("number", "changes")) == [(1, 1)]
    served.refresh()
    assert next(iter(served.desk(shop.pk).heads.values())).delta == 1
