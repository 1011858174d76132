"""A network that is trained beside the closed form: registered, judged, served when it answers better, and gone on from."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from feedback import jobs
from feedback.models import Category, Fold, Inquiry, Job, Project
from labeling.models import Label
from learning import cards, challengers, continual_states, pipelines
from learning.core.continual.state import Kept, from_bytes
from learning.models import ContinualState, RunState, TrainingRun, TrainingSettings
from serving import registry
from serving.models import ModelVersion
from serving.served import served
from tests.databases import blocked, held
from tests.learning.killed import given_up, process, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_heads")]
Train = Callable[[Project], Job]


@pytest.fixture
def contested(desk: Project, add_labels: Callable[..., None]) -> Project:
    """A desk with labels enough to compare on, whose challenger is EWC + replay."""
    add_labels(desk, 110)
    ids = list(Inquiry.objects.order_by("pk").values_list("pk", flat=True))
    Inquiry.objects.filter(pk__in=ids[:50]).update(fold=Fold.CALIBRATE)
    Inquiry.objects.filter(pk__in=ids[50:60]).update(fold=Fold.TEST)
    Inquiry.objects.filter(pk__in=ids[60:]).update(fold=Fold.TRAIN)
    TrainingSettings.objects.create(project=desk, challenger="ewc_replay", challenger_options={"epochs": 15})
    return desk


def state_of(row: ContinualState) -> Kept:
    return from_bytes(continual_states.read(row.project_id, row.sha256))


def files(project: Project) -> set[str]:
    return {f.stem for f in (Path(settings.ENSO_ARTIFACTS) / "continual" / str(project.pk)).glob("*.state")}


def fit_badly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed form that has learned shuffled labels."""
    real = pipelines.fit

    def shuffled(material, *args):
        dataset = material.dataset
        categories = np.random.default_rng(0).permutation([r.category for r in dataset.rows])
        rows = tuple(
            replace(r, category=str(c)) if r.fold == Fold.TRAIN else r
            for r, c in zip(dataset.rows, categories, strict=True)
        )
        return real(replace(material, dataset=replace(dataset, rows=rows)), *args)

    monkeypatch.setattr(pipelines, "fit", shuffled)


def test_a_challenger_is_a_version_with_its_method_options_gates_and_fisher(contested: Project, train: Train) -> None:
    job = train(contested)
    assert job.state == "done", job.errors
    closed, rival = TrainingRun.objects.order_by("pk")
    assert (closed.method, rival.method, rival.model.kind) == ("", "ewc_replay", "ewc_replay")
    assert {"ewc": 3.0, "epochs": 15, "capacity": 1000}.items() <= rival.hyperparameters.items()
    assert len(rival.model.gates) == len(closed.model.gates)
    told = rival.metrics["challenge"]
    assert told["labels"] == 50
    assert told["won"] == (told["gain"] > told["standard_error"])
    assert {closed.state, rival.state} == {RunState.PROMOTED, RunState.BEATEN}
    assert (rival.state == RunState.PROMOTED) == told["won"]
    assert rival.validation["passed"]
    kept = state_of(ContinualState.objects.get(run=rival))
    assert (kept.arrays["fisher_weight"] > 0).any()
    assert set(kept.items) <= set(
        map(str, Label.objects.filter(inquiry__fold=Fold.TRAIN).values_list("inquiry", flat=True))
    )
    assert len(kept.items) == 50


def test_a_network_that_answers_better_serves_and_follows_live_labels(
    contested: Project, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_badly(monkeypatch)
    job = train(contested)
    rival = ModelVersion.objects.get(kind="ewc_replay")
    assert job.result["runs"][0] == {"run": rival.run.pk, "state": "promoted", "model": rival.number}
    head = next(iter(served.desk(contested.pk).heads.values()))
    assert head.name == f"v{rival.number}"
    assert "live.base" in registry.open_bundle(rival).manifest["files"]
    assert TrainingRun.objects.get(method="").state in {RunState.BEATEN, RunState.REJECTED}


def test_a_network_that_has_learned_next_to_nothing_does_not_serve(contested: Project, train: Train) -> None:
    TrainingSettings.objects.update(challenger_options={"epochs": 1, "rate": 1e-5})
    train(contested)
    assert TrainingRun.objects.get(method="").state == RunState.PROMOTED
    assert TrainingRun.objects.get(method="ewc_replay").state in {RunState.BEATEN, RunState.REJECTED}
    assert not TrainingRun.objects.get(method="ewc_replay").metrics["challenge"]["won"]


def test_where_the_winner_fails_a_gate_the_other_serves(
    contested: Project, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_badly(monkeypatch)
    real = pipelines.judged

    def judged(dataset, head, sha):
        evidence, results = real(dataset, head, sha)
        stopped = head.kind == "ewc_replay"
        return evidence, [replace(r, passed=not stopped) for r in results]

    monkeypatch.setattr(pipelines, "judged", judged)
    train(contested)
    assert TrainingRun.objects.get(method="").state == RunState.PROMOTED
    assert TrainingRun.objects.get(method="ewc_replay").state == RunState.REJECTED


def test_the_next_training_learns_what_came_since_and_says_what_was_forgotten(
    contested: Project, train: Train, add_labels: Callable[..., None]
) -> None:
    train(contested)
    add_labels(contested, 20, seed=5)
    Inquiry.objects.filter(external_id__startswith="5-").update(fold=Fold.TRAIN)
    train(contested)
    first, second = ContinualState.objects.order_by("pk")
    assert (second.parent, second.experiences) == (first, 2)
    told = second.run.metrics["continual"]
    assert (told["experience"], told["replayed"]) == (20, 50)
    forgotten = second.run.metrics["forgotten"]
    assert [f["labels"] for f in forgotten.values()] == [10]
    assert all(0 <= f["now"] <= 1 and 0 <= f["then"] <= 1 for f in forgotten.values())
    card = cards.model_card(second.run.model)
    assert "10 test labels that v" in card
    assert "log-loss against the closed form's on 50 calibrate labels" in card


def test_after_a_state_that_a_gate_stopped_the_one_before_it_is_gone_on_from(contested: Project, train: Train) -> None:
    train(contested)
    train(contested)
    first, second = ContinualState.objects.order_by("pk")
    TrainingRun.objects.filter(pk=second.run_id).update(state=RunState.REJECTED)
    train(contested)
    assert ContinualState.objects.order_by("pk").last().parent == first


def test_a_withdrawn_label_is_replayed_no_more_and_a_renamed_category_keeps_its_row(
    contested: Project, train: Train
) -> None:
    train(contested)
    kept = state_of(ContinualState.objects.get())
    gone = kept.items[0]
    Label.objects.filter(inquiry_id=gone).update(category=None)
    category = Category.objects.filter(project=contested).order_by("pk").first()
    Category.objects.filter(pk=category.pk).update(key="another-key")
    Project.objects.update(revision=99)
    train(contested)
    again = state_of(ContinualState.objects.order_by("pk").last())
    assert gone not in again.items
    assert len(again.items) == 49
    assert set(again.categories) == set(kept.categories)
    told = TrainingRun.objects.filter(method="ewc_replay").last().metrics["continual"]
    assert (told["experience"], told["changed_categories"]) == (0, [])


def test_an_erasure_reaches_the_network_its_buffer_and_its_versions(contested: Project, train: Train) -> None:
    train(contested)
    train(contested)
    assert len(files(contested)) == 2
    ids = list(map(str, Inquiry.objects.filter(fold=Fold.TRAIN).order_by("pk").values_list("pk", flat=True)[:5]))
    Inquiry.objects.filter(pk__in=ids).update(customer="Quorra-17")
    call_command("erase_customer", contested.slug, "Quorra-17", stdout=io.StringIO())
    assert not files(contested)
    assert ContinualState.objects.filter(barred__contains="erased").count() == 2
    assert all("erased" in v.barred for v in ModelVersion.objects.filter(kind="ewc_replay"))
    job = Job.objects.get(kind="train", state="queued")
    jobs.run(job.pk)
    begun = ContinualState.objects.order_by("pk").last()
    assert (begun.parent, begun.experiences, begun.run.metrics["continual"]["experience"]) == (None, 1, 45)
    assert not set(ids) & set(state_of(begun).items)


def test_a_challengers_run_is_repeated_to_the_same_bytes(contested: Project, train: Train) -> None:
    train(contested)
    train(contested)
    run = TrainingRun.objects.filter(method="ewc_replay").last()
    out = io.StringIO()
    call_command("train", contested.slug, reproduce=run.pk, stdout=out, stderr=io.StringIO())
    assert "gives the same bundle again" in out.getvalue()
    ContinualState.objects.filter(run=run).update(parent=None)
    with pytest.raises(CommandError, match="what the challenger went on from is gone"):
        call_command("train", contested.slug, reproduce=run.pk, stdout=out, stderr=io.StringIO())


@pytest.mark.parametrize("method", ["derpp", "lwf"])
def test_the_other_methods_go_on_too(contested: Project, train: Train, method: str) -> None:
    TrainingSettings.objects.update(challenger=method, challenger_options={})
    train(contested)
    assert train(contested).state == "done"
    assert list(ContinualState.objects.order_by("pk").values_list("method", "experiences")) == [
        (method, 1),
        (method, 2),
    ]


def test_with_too_few_labels_to_compare_on_there_is_no_challenger(contested: Project, train: Train) -> None:
    Inquiry.objects.filter(fold=Fold.CALIBRATE).update(fold=Fold.TRAIN)
    assert train(contested).state == "done"
    assert not TrainingRun.objects.exclude(method="").exists()


@pytest.mark.processes
def test_a_training_killed_when_its_challenger_is_to_be_named_goes_on_without_fitting_again(
    contested: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held("LOCK TABLE learning_continualstate IN EXCLUSIVE MODE"), process("train", contested.slug) as child:
        until(blocked, child)  # both versions are registered, and the state lies on the disk without a row
    assert ModelVersion.objects.filter(stage="none").count() == 2
    assert not ContinualState.objects.exists()
    assert len(files(contested)) == 1
    monkeypatch.setattr(challengers, "fit", None)
    given_up()
    job = Job.objects.get(kind="train")
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("done", 2), job.errors
    state = ContinualState.objects.get()
    assert {state.sha256} == files(contested)
    assert ModelVersion.objects.count() == 2
    assert {r.state for r in TrainingRun.objects.all()} == {RunState.PROMOTED, RunState.BEATEN}
    assert state.run.metrics["continual"]["experience"] == 50
