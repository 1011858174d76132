from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from feedback import jobs, outbox
from feedback.models import Job, Project
from feedback.services import NewInquiry, add_categories, record_inquiry
from labeling.services import import_label
from learning.models import Snapshot, TrainingRun, TrainingSettings
from learning.tasks import new_labels, train_if_due, train_nightly

pytestmark = pytest.mark.django_db


def label(project, n: int, category: str = "refund") -> None:
    new = NewInquiry(text=f"text {chr(97 + n)}", request_sha=b"0" * 32, external_id=str(n))
    inquiry = record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="resolved", category_id=None, reply_id=None
    )
    import_label(inquiry=inquiry, category_id=project.categories.get(key=category).pk)


def trained(project, *, state: str) -> None:
    """The job has begun now and has collected its labels."""
    Job.objects.update(state=state, started_at=timezone.now())
    snapshot = Snapshot.objects.create(project=project, encoder_sha="e", sha256="s", labels=1)
    TrainingRun.objects.create(project=project, job=Job.objects.get(), encoder_sha="e", snapshot=snapshot)


def test_labels_trigger_a_training_when_enough_have_come(project):
    Project.objects.update(retrain_after_labels=3)
    label(project, 0)
    label(project, 1)
    outbox.relay()
    assert not Job.objects.exists()
    label(project, 2)
    outbox.relay()
    assert Job.objects.get().kind == "train"


def test_labels_that_a_training_has_seen_do_not_trigger_another(project):
    Project.objects.update(retrain_after_labels=1)
    label(project, 0)
    assert train_if_due(project_id=project.pk)
    trained(project, state="done")
    assert new_labels(project_id=project.pk) == 0
    assert not train_if_due(project_id=project.pk)


def test_a_new_category_is_taught_only_where_a_model_serves(project):
    add_categories(project_id=project.pk, categories=[{"key": "invoice", "name": "Invoice"}])
    outbox.relay()
    assert not Job.objects.exists()


def test_labels_that_a_running_training_has_collected_do_not_ask_for_it_again(project):
    Project.objects.update(retrain_after_labels=1)
    label(project, 0)
    train_if_due(project_id=project.pk)
    trained(project, state="running")
    assert not train_if_due(project_id=project.pk)
    label(project, 1)
    assert train_if_due(project_id=project.pk)
    assert Job.objects.get().again


def test_a_training_that_was_asked_for_twice_learns_once(project):
    Project.objects.update(retrain_after_labels=1)
    label(project, 0)
    train_if_due(project_id=project.pk)
    trained(project, state="done")
    late = jobs.enqueue(kind="train", project_id=project.pk, params={"if_due": True})
    jobs.run(late.pk)
    late.refresh_from_db()
    assert late.state == "done"
    assert late.result["runs"] == []


def at(hour: int) -> datetime:
    return timezone.now().replace(hour=hour, minute=17)


def nightly(project, hour: int | None) -> None:
    TrainingSettings.objects.update_or_create(project=project, defaults={"nightly_hour": hour})


def test_a_nightly_training_comes_once_in_its_hour_and_says_why(project):
    nightly(project, timezone.now().hour)
    label(project, 0)
    assert [train_nightly(now=timezone.now()) for _ in range(3)] == [1, 0, 0]
    assert Job.objects.get().params == {"reason": "nightly"}


def test_no_night_trains_without_a_new_label_or_outside_its_hour(project, other_project):
    nightly(project, 3)
    nightly(other_project, 3)
    label(project, 0)
    assert train_nightly(now=at(4)) == 0
    Project.objects.filter(pk=project.pk).update(archived_at=timezone.now())
    assert train_nightly(now=at(3)) == 0  # the one is archived, the other has no label
    assert not Job.objects.exists()


def test_training_settings_are_set_by_name(project, capsys):
    call_command("training", "shop", "approval=yes", "nightly_hour=3", "feedback_weight=0.25")
    assert capsys.readouterr().out.splitlines() == [
        "approval = True", "nightly_hour = 3", "feedback_weight = 0.25", "challenger = none",
    ]  # fmt: skip
    call_command("training", "shop", "nightly_hour=")
    assert TrainingSettings.of(project.pk).nightly_hour is None
    for wrong in ("nightly_hour=24", "nightly_hour=noon", "feedback_weight=-1", "colour=red"):
        with pytest.raises(CommandError):
            call_command("training", "shop", wrong)
    assert TrainingSettings.of(project.pk).feedback_weight == 0.25


def test_a_running_training_says_how_long_it_will_still_take(project):
    job = jobs.enqueue(kind="train", project_id=project.pk)
    assert jobs.remaining(job) is None
    Job.objects.update(state="running", started_at=timezone.now() - timedelta(seconds=30), progress=0.25)
    job.refresh_from_db()
    left = jobs.remaining(job)
    assert left is not None
    assert 90 <= left.total_seconds() < 100


def test_a_challenger_and_its_options_are_settings_and_wrong_ones_are_named(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("training", "shop", "challenger=ewc_replay", "epochs=20", "ewc=10")
    assert "  ewc = 10.0" in capsys.readouterr().out.splitlines()
    assert TrainingSettings.of(project.pk).challenger_options == {"epochs": 20, "ewc": 10.0}
    for wrong, why in (
        ("challenger=gdumb", "gdumb"), ("lwf=1", "'lwf' is no option"), ("epochs=2.5", "epochs must be a number"),
        ("rate=7", "rate must be a number from"),
    ):  # fmt: skip
        with pytest.raises(CommandError, match=why):
            call_command("training", "shop", wrong)
    call_command("training", "shop", "epochs=")
    assert TrainingSettings.of(project.pk).challenger_options == {"ewc": 10.0}
    call_command("training", "shop", "challenger=lwf")
    assert TrainingSettings.of(project.pk).challenger_options == {}
    call_command("training", "shop", "challenger=none")
    with pytest.raises(CommandError, match="without a challenger"):
        call_command("training", "shop", "epochs=20")
