"""A version that a person has blocked goes out of service."""

from __future__ import annotations

import pytest

from feedback import outbox
from feedback.models import Project
from serving import registry
from serving.models import DecisionRecord, ModelVersion, Stage
from tests.browser.scene import category, inquire


def version(project: Project, number: int, stage: str) -> ModelVersion:
    return ModelVersion.objects.create(
        project=project, number=number, encoder_sha="e" * 64, manifest_sha=f"{number}" * 64, kind="ridge", stage=stage
    )


def block(project: Project, model: ModelVersion) -> None:
    inquiry = inquire(project, f"Answered by {model.number}")
    DecisionRecord.objects.create(
        inquiry=inquiry, model=model, model_name="v", encoder_sha="e" * 64, category=category(project, "refund"), confidence=0.9,
        probabilities={"refund": 0.9}, sentiment=0.0, decision="auto", audit=False, propensity=0.05,
    )  # fmt: skip
    outbox.publish(kind="model.blocked", project_id=project.pk, payload={"inquiry": str(inquiry.pk)})
    outbox.relay()


@pytest.fixture(autouse=True)
def _bundles_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_must_verify", lambda version: None)


def stages(project: Project) -> dict[int, str]:
    return dict(ModelVersion.objects.filter(project=project).values_list("number", "stage"))


def test_the_version_before_it_serves_again(project: Project) -> None:
    version(project, 1, Stage.ARCHIVED)
    block(project, version(project, 2, Stage.PRODUCTION))
    assert stages(project) == {1: Stage.PRODUCTION, 2: Stage.REJECTED}


def test_one_that_no_longer_serves_cannot_come_back(project: Project) -> None:
    old = version(project, 1, Stage.ARCHIVED)
    version(project, 2, Stage.PRODUCTION)
    block(project, old)
    assert stages(project) == {1: Stage.REJECTED, 2: Stage.PRODUCTION}


def test_the_only_one_goes_on_serving(project: Project) -> None:
    block(project, version(project, 1, Stage.PRODUCTION))
    assert stages(project) == {1: Stage.PRODUCTION}
