"""Erasing a customer: nothing is left of them, and the head is one that never knew them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from feedback import jobs, outbox
from feedback.models import Fold, Inquiry, Job, Project
from learning import erasure, fitting, pipelines
from learning.core.heads.ridge import RidgeStatistics
from learning.datasets import collect
from learning.models import Snapshot
from learning.owner import Owner
from learning.snapshots import read_manifest
from serving.artifacts import CorruptBundle
from serving.models import ModelVersion
from serving.registry import open_bundle
from tests.learning.following import ask, follower_of, keys, label

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_heads")]
SECRET = "zebra umbrella quartet at midnight"


def customers(project: Project, keeper: Owner) -> None:
    """Half of the base's labels and a live one belong to the customer who will be erased."""
    ids = list(Inquiry.objects.filter(project=project).order_by("pk").values_list("pk", flat=True))
    Inquiry.objects.filter(pk__in=ids[::2]).update(customer="Quorra-17")
    keeper.step()
    inquiry = ask(project, SECRET)
    Inquiry.objects.filter(pk=inquiry.pk).update(customer="Quorra-17")
    label(inquiry, keys(project)[0])
    keeper.step()


def receipt_of(project: Project, customer: str = "Quorra-17") -> dict:
    out = io.StringIO()
    call_command("erase_customer", project.slug, customer, stdout=out)
    return json.loads(out.getvalue())


def everything_stored(root: Path) -> str:
    """Every value of every row of our apps, and every artifact that is text."""
    rows = [repr(list(model.objects.values())) for app in ("feedback", "labeling", "serving", "learning")
            for model in apps.get_app_config(app).get_models()]  # fmt: skip
    return "\n".join([*rows, *(p.read_bytes().decode("latin-1") for p in root.rglob("*") if p.is_file())])


def test_the_head_equals_one_that_never_knew_the_customer(shop: Project, keeper: Owner) -> None:
    customers(shop, keeper)
    keeper._let_go(ModelVersion.objects.get().pk)
    receipt = receipt_of(shop)
    keeper.step()
    follower = follower_of(keeper)
    dataset = collect(project_id=shop.pk, encoder_sha=follower.version.encoder_sha)
    assert 20 < len(dataset.rows) < 60
    never = RidgeStatistics(follower.head.features.width, list(follower.head.categories))
    for row, x in zip(dataset.rows, dataset.x, strict=True):
        if row.fold == Fold.TRAIN:
            never.add(follower.head.features(x), never.index(row.category), row.weight)
    for x, key, weight in follower.head._pseudo:
        never.add(follower.head.features(x), never.index(key), weight)
    assert np.abs(follower.head.ridge_weights - never.solve(follower.head._online.lam)).max() <= 1e-9
    assert receipt["unlearned_exactly"]["v1"] >= 2
    assert receipt["retrain"] == ["v1"]


def test_nothing_is_left_of_the_customer_in_rows_and_artifacts(shop: Project, keeper: Owner, settings: object) -> None:
    customers(shop, keeper)
    keeper._let_go(ModelVersion.objects.get().pk)
    texts = list(Inquiry.objects.filter(customer="Quorra-17").values_list("text", flat=True))
    receipt_of(shop)
    stored = everything_stored(settings.ENSO_ARTIFACTS)  # type: ignore[attr-defined]
    others = set(Inquiry.objects.values_list("text", flat=True))
    assert not [text for text in texts if text not in others and text in stored]
    assert "Quorra-17" not in stored
    assert SECRET not in stored


def test_vectors_that_a_head_looks_up_are_deleted_as_soon_as_it_serves_no_more(
    desk: Project, keeper: Owner, add_labels: Callable[..., None], train: Callable[[Project], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(fitting, "MOST_STACKED", 3_000)
    monkeypatch.setattr(fitting, "_held_out_loss", lambda head: 0.0 if head.kind == "stack" else 1.0)
    add_labels(desk, 80)
    train(desk)
    customers(desk, keeper)
    first = ModelVersion.objects.get()
    keeper._let_go(first.pk)
    bundle = open_bundle(first)
    assert bundle.manifest["preprocessing"]["neighbours"] > 20
    assert receipt_of(desk)["retrain"] == ["v1"]
    assert bundle.path.exists()  # it still serves
    jobs.run(Job.objects.filter(kind="train", params__reason="erasure").get().pk)
    first.refresh_from_db()
    assert (first.stage, ModelVersion.objects.get(stage="production").barred) == ("archived", "")
    outbox.relay()
    assert not bundle.path.exists()
    with pytest.raises(CorruptBundle):
        open_bundle(first)


def test_snapshots_get_successors_without_the_customer(shop: Project, keeper: Owner) -> None:
    customers(shop, keeper)
    keeper._let_go(ModelVersion.objects.get().pk)
    receipt_of(shop)
    before, after = Snapshot.objects.order_by("pk")
    assert before.successor == after
    assert after.labels == before.labels / 2


def test_an_erasure_that_was_killed_goes_on_where_it_stopped(
    shop: Project, keeper: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers(shop, keeper)
    keeper._let_go(ModelVersion.objects.get().pk)
    real = erasure._recounted

    def killed(project_id: int) -> dict[str, int]:
        monkeypatch.setattr(erasure, "_recounted", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(erasure, "_recounted", killed)
    job = erasure.erase_customer(project_id=shop.pk, customer="Quorra-17")
    with pytest.raises(KeyboardInterrupt):
        jobs.run(job.pk)
    Job.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
    jobs.sweep()
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == "done", job.errors
    assert job.result["deleted"]["feedback"]["inquiries"] == 41
    assert job.params.keys() == {"customer_sha256"}


def test_heads_that_interrupted_trainings_have_kept_are_deleted(shop: Project, keeper: Owner, settings: object) -> None:
    customers(shop, keeper)
    keeper._let_go(ModelVersion.objects.get().pk)
    other = Project.objects.create(slug="other", name="Other")
    folder = Path(settings.ENSO_ARTIFACTS) / "checkpoints"  # type: ignore[attr-defined]
    folder.mkdir(exist_ok=True)
    kept = {}
    for project in (shop, other):
        job = Job.objects.create(kind="train", project=project, state="failed", checkpoint={"sha": {"head": "x"}})
        kept[project.slug] = folder / f"{job.pk}-0123456789abcdef.head"
        kept[project.slug].write_bytes(b"vectors")
    receipt_of(shop)
    assert {slug: path.exists() for slug, path in kept.items()} == {"sample": False, "other": True}


@pytest.mark.parametrize("step", ["export", "judged"])
def test_a_training_during_which_somebody_is_erased_begins_anew_without_them(
    shop: Project, keeper: Owner, monkeypatch: pytest.MonkeyPatch, settings: object, step: str
) -> None:
    """At `export` the version is not registered yet, so the erasure cannot bar it; at `judged` it is."""
    customers(shop, keeper)
    keeper._let_go(ModelVersion.objects.get().pk)
    theirs = {str(pk) for pk in Inquiry.objects.filter(customer="Quorra-17").values_list("pk", flat=True)}
    real, bundles = getattr(pipelines, step), []

    def meanwhile(*given: object) -> object:
        done = real(*given)
        if not bundles:
            bundles.append(done.sha256 if step == "export" else given[2])
            receipt_of(shop)
        return done

    monkeypatch.setattr(pipelines, step, meanwhile)
    job = jobs.enqueue(kind="train", project_id=shop.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.errors) == ("done", [])
    served_now = ModelVersion.objects.get(stage="production")
    assert served_now.barred == ""
    snapshot = Snapshot.objects.get(sha256=served_now.lineage["data"])
    assert snapshot.successor is None
    assert not theirs & {row["inquiry"] for row in read_manifest(snapshot.sha256)["labels"]}
    assert bundles[0] != served_now.manifest_sha
    assert not (Path(settings.ENSO_ARTIFACTS) / bundles[0]).exists()  # type: ignore[attr-defined]


def test_an_erasure_without_a_customer_is_refused(shop: Project) -> None:
    with pytest.raises(CommandError, match="name the customer"):
        call_command("erase_customer", shop.slug, " ")
