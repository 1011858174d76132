"""A version that a person has blocked goes out of service."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from feedback import outbox
from feedback.models import Project
from serving.artifacts import write_bundle
from serving.models import DecisionRecord, ModelVersion, Stage
from tests.browser.scene import category, inquire


def version(project: Project, number: int, stage: str) -> ModelVersion:
    """A version whose bundle lies where it should."""
    meta = {"kind": "ridge", "categories": ["refund"], "encoder_sha256": "e" * 64, "number": number}
    bundle = write_bundle(Path(settings.ENSO_ARTIFACTS), {"weights.npy": b"weights"}, meta)
    return ModelVersion.objects.create(
        project=project, number=number, encoder_sha="e" * 64, manifest_sha=bundle.sha256, kind="ridge", stage=stage
    )


def block(project: Project, model: ModelVersion) -> None:
    inquiry = inquire(project, f"Answered by {model.number}")
    DecisionRecord.objects.create(
        inquiry=inquiry, model=model, model_name="v", encoder_sha="e" * 64, category=category(project, "refund"), confidence=0.9,
        probabilities={"refund": 0.9}, sentiment=0.0, decision="auto", audit=False, propensity=0.05,
    )  # fmt: skip
    outbox.publish(kind="model.blocked", project_id=project.pk, payload={"inquiry": str(inquiry.pk)})
    outbox.relay()


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
