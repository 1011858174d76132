"""Model versions: registering, promoting, rolling back. A version serves only when its bundle verifies."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from feedback import outbox
from feedback.problems import Problem
from serving.artifacts import Bundle, load_bundle
from serving.lines import Line
from serving.models import ModelVersion


def bundle_path(manifest_sha: str) -> Path:
    return Path(settings.ENSO_ARTIFACTS) / manifest_sha


def open_bundle(version: ModelVersion) -> Bundle:
    """The verified bundle of a version; raises CorruptBundle naming the file that does not match."""
    return load_bundle(bundle_path(version.manifest_sha), version.manifest_sha)


def _announce(project_id: int, version: ModelVersion | None) -> None:
    if version is not None:
        outbox.publish(kind="model.promoted", project_id=project_id, payload={"model": version.pk})


line = Line(ModelVersion, lambda v: f"Version {v.number}", open_bundle, _announce)
in_production, register, promote = line.in_production, line.register, line.promote


def rollback(*, project_id: int, encoder_sha: str) -> ModelVersion:
    """Put the latest version before the present one back that has served and still may; 409 when there is none."""
    previous = line.earlier(project_id=project_id, encoder_sha=encoder_sha)
    if previous is None:
        raise Problem(409, "nothing-to-roll-back-to", "No earlier version has served here.")
    return promote(version_id=previous.pk)
