"""Model versions: registering, promoting, rolling back. A version serves only when its bundle verifies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from feedback import outbox
from feedback.models import Project
from feedback.problems import Problem
from serving.artifacts import Bundle, CorruptBundle, load_bundle
from serving.models import ModelVersion, Stage


def bundle_path(manifest_sha: str) -> Path:
    return Path(settings.ENSO_ARTIFACTS) / manifest_sha


def open_bundle(version: ModelVersion) -> Bundle:
    """The verified bundle of a version; raises CorruptBundle naming the file that does not match."""
    return load_bundle(bundle_path(version.manifest_sha), version.manifest_sha)


def in_production(*, project_id: int, encoder_sha: str) -> ModelVersion | None:
    return ModelVersion.objects.filter(project_id=project_id, encoder_sha=encoder_sha, stage=Stage.PRODUCTION).first()


def register(*, project_id: int, bundle: Bundle, encoder_sha: str, **fields: Any) -> ModelVersion:
    """A new version in staging, numbered within its project; its parent is the version in production."""
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project_id)
        last = ModelVersion.objects.filter(project_id=project_id).aggregate(n=Max("number"))["n"] or 0
        return ModelVersion.objects.create(
            project_id=project_id, number=last + 1, encoder_sha=encoder_sha, manifest_sha=bundle.sha256, kind=bundle.kind,
            parent=in_production(project_id=project_id, encoder_sha=encoder_sha), **fields,
        )  # fmt: skip


def promote(*, version_id: int) -> ModelVersion:
    """Put a version into production in place of the one that serves. Refused when its bundle is damaged or a gate failed."""
    version = ModelVersion.objects.get(pk=version_id)
    _must_verify(version)
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=version.project_id)
        version.refresh_from_db()
        if version.stage == Stage.REJECTED:
            raise Problem(409, "gate-failed", f"Version {version.number} failed a gate and cannot serve.")
        if version.stage == Stage.PRODUCTION:
            return version
        same = ModelVersion.objects.filter(project_id=version.project_id, encoder_sha=version.encoder_sha)
        same.filter(stage=Stage.PRODUCTION).update(stage=Stage.ARCHIVED)
        version.stage, version.promoted_at = Stage.PRODUCTION, timezone.now()
        version.save(update_fields=["stage", "promoted_at"])
        outbox.publish(kind="model.promoted", project_id=version.project_id, payload={"model": version.pk})
    return version


def rollback(*, project_id: int, encoder_sha: str) -> ModelVersion:
    """Put the latest version before the present one back that has served and still may; 409 when there is none."""
    serving = in_production(project_id=project_id, encoder_sha=encoder_sha)
    earlier = ModelVersion.objects.filter(project_id=project_id, encoder_sha=encoder_sha, stage=Stage.ARCHIVED)
    if serving is not None:
        earlier = earlier.filter(number__lt=serving.number)
    previous = earlier.order_by("-number").first()
    if previous is None:
        raise Problem(409, "nothing-to-roll-back-to", "No earlier version has served here.")
    return promote(version_id=previous.pk)


def _must_verify(version: ModelVersion) -> None:
    try:
        open_bundle(version)
    except CorruptBundle as error:
        raise Problem(409, "corrupt-bundle", f"Version {version.number} cannot serve: {error}") from error
