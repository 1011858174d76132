"""A project may want a person to let versions serve; an erasure bars versions; faulty labels are not trained on."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from feedback.models import Inquiry, InquiryScore, Job, OutboxEvent, Project
from labeling.models import Label, LabelSource
from learning import validation
from learning.datasets import collect
from learning.models import RunState, TrainingRun, TrainingSettings
from serving import registry
from serving.models import ModelVersion, Stage
from serving.served import served

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("small_heads")]


def test_a_version_waits_for_a_person_where_the_project_says_so(shop: Project, train) -> None:
    TrainingSettings.objects.create(project=shop, approval=True)
    job = train(shop)
    waiting = ModelVersion.objects.get(number=2)
    assert (waiting.stage, waiting.run.state) == (Stage.STAGING, RunState.STAGED)
    assert job.result["runs"][0]["state"] == "staged"
    assert all(gate["passed"] for gate in waiting.gates)
    assert OutboxEvent.objects.filter(kind="model.staged").count() == 1
    assert _answering(shop) == "v1"
    registry.promote(version_id=waiting.pk, by="user:7")
    assert _answering(shop) == "v2"
    assert ModelVersion.objects.get(number=2).approved_by == "user:7"


def test_what_knew_an_erased_customer_never_serves_again(shop: Project, train) -> None:
    train(shop)
    Inquiry.objects.filter(pk=Inquiry.objects.order_by("pk").values("pk")[:1]).update(customer="Quorra-17")
    call_command("erase_customer", shop.slug, "Quorra-17", stdout=io.StringIO())
    first, second = ModelVersion.objects.order_by("number")
    assert "erased" in first.barred
    assert second.stage == Stage.PRODUCTION  # it serves until the training that was asked for replaces it
    assert Job.objects.get(kind="train", state="queued").params == {"reason": "erasure"}
    with pytest.raises(registry.Problem, match="erased"):
        registry.rollback(project_id=shop.pk, encoder_sha=first.encoder_sha, to=1)


def test_labels_weigh_by_who_gave_them_and_by_what_customers_did(shop: Project) -> None:
    first, second, third = (label.inquiry_id for label in Label.objects.order_by("inquiry_id")[:3])
    Label.objects.filter(inquiry_id=first).update(source=LabelSource.SINGLE)
    InquiryScore.objects.create(inquiry_id=second, implicit=-0.4, explicit=0.8)
    InquiryScore.objects.create(inquiry_id=third, implicit=-0.4)
    sha = ModelVersion.objects.get().encoder_sha
    weights = {r.inquiry: r.weight for r in collect(project_id=shop.pk, encoder_sha=sha).rows}
    assert (weights[first], weights[second], weights[third]) == pytest.approx((0.9, 1.4, 1.0))
    TrainingSettings.objects.create(project=shop, feedback_weight=2.0)
    again = {r.inquiry: r.weight for r in collect(project_id=shop.pk, encoder_sha=sha).rows}
    assert again[second] == pytest.approx(2.6)


def test_faulty_labels_fail_the_run_with_a_report_and_leave_what_serves(shop: Project, monkeypatch) -> None:
    real = validation.table
    monkeypatch.setattr(validation, "table", lambda material: real(material).assign(weight=-1.0))
    with pytest.raises(CommandError, match="cannot be trained on: columns and ranges"):
        call_command("train", shop.slug)
    good, bad = TrainingRun.objects.order_by("pk")
    assert (bad.state, bad.model, bad.validation["passed"]) == (RunState.FAILED, None, False)
    assert "fault" in bad.report
    assert good.validation["passed"]
    assert _answering(shop) == "v1"


def _answering(project: Project) -> str:
    served.refresh()
    desk = served.desk(project.pk)
    return next(iter(desk.heads.values())).name
