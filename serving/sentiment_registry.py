"""Versions of the sentiment head: registering, promoting, rolling back; the rules of serving/registry.py for comments.

A promotion asks for the comments to be read again (`sentiment.promoted`), so that scores follow the version in service.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from feedback import outbox
from feedback.models import Project
from feedback.problems import Problem
from serving.artifacts import Bundle, CorruptBundle, load_bundle
from serving.registry import bundle_path
from serving.sentiment_models import SentimentStage, SentimentVersion


def in_production(*, project_id: int, encoder_sha: str) -> SentimentVersion | None:
    same = SentimentVersion.objects.filter(project_id=project_id, encoder_sha=encoder_sha)
    return same.filter(stage=SentimentStage.PRODUCTION).first()


def register(*, project_id: int, bundle: Bundle, encoder_sha: str, **fields: Any) -> SentimentVersion:
    """A new version, numbered within its project; its parent is the one in production."""
    with transaction.atomic():
        _lock(project_id)
        last = SentimentVersion.objects.filter(project_id=project_id).aggregate(n=Max("number"))["n"] or 0
        parent = in_production(project_id=project_id, encoder_sha=encoder_sha)
        return SentimentVersion.objects.create(
            project_id=project_id, number=last + 1, encoder_sha=encoder_sha, manifest_sha=bundle.sha256, kind=bundle.kind,
            parent=parent, **fields,
        )  # fmt: skip


def promote(*, version_id: int) -> SentimentVersion:
    """Let a version read from now on. 409 where its bundle is damaged or a gate stopped it."""
    version = SentimentVersion.objects.get(pk=version_id)
    try:
        load_bundle(bundle_path(version.manifest_sha), version.manifest_sha)
    except CorruptBundle as error:
        raise Problem(409, "corrupt-bundle", f"Version s{version.number} cannot serve: {error}") from error
    with transaction.atomic():
        _lock(version.project_id)
        version.refresh_from_db()
        if version.stage == SentimentStage.REJECTED:
            raise Problem(409, "gate-failed", f"Version s{version.number} failed a gate and cannot serve.")
        if version.stage == SentimentStage.PRODUCTION:
            return version
        _retire(version.project_id, version.encoder_sha)
        version.stage, version.promoted_at = SentimentStage.PRODUCTION, timezone.now()
        version.save(update_fields=["stage", "promoted_at"])
        _announce(version.project_id, version.pk)
    return version


def rollback(*, project_id: int, encoder_sha: str) -> SentimentVersion | None:
    """Put the version before the present one back; before the first, the anchors (None). 409 where nothing has served."""
    serving = in_production(project_id=project_id, encoder_sha=encoder_sha)
    if serving is None:
        raise Problem(409, "nothing-to-roll-back-to", "The anchors read these comments: nothing has been promoted.")
    same = SentimentVersion.objects.filter(project_id=project_id, encoder_sha=encoder_sha, number__lt=serving.number)
    previous = same.filter(stage=SentimentStage.ARCHIVED).order_by("-number").first()
    if previous is not None:
        return promote(version_id=previous.pk)
    with transaction.atomic():
        _lock(project_id)
        _retire(project_id, encoder_sha)
        _announce(project_id, None)
    return None


def _lock(project_id: int) -> None:
    Project.objects.select_for_update(no_key=True).get(pk=project_id)


def _retire(project_id: int, encoder_sha: str) -> None:
    same = SentimentVersion.objects.filter(project_id=project_id, encoder_sha=encoder_sha)
    same.filter(stage=SentimentStage.PRODUCTION).update(stage=SentimentStage.ARCHIVED)


def _announce(project_id: int, version_id: int | None) -> None:
    outbox.publish(kind="sentiment.promoted", project_id=project_id, payload={"version": version_id})
