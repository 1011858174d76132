"""Versions of the sentiment head: registering, promoting, rolling back; the rules of serving/registry.py for comments.

A promotion asks for the comments to be read again (`sentiment.promoted`), so that scores follow the version in service.
"""

from __future__ import annotations

from feedback import outbox
from serving.artifacts import Bundle, load_bundle
from serving.lines import Line
from serving.registry import bundle_path
from serving.sentiment_models import SentimentVersion


def _verified(version: SentimentVersion) -> Bundle:
    return load_bundle(bundle_path(version.manifest_sha), version.manifest_sha)


def _announce(project_id: int, version: SentimentVersion | None) -> None:
    outbox.publish(
        kind="sentiment.promoted", project_id=project_id, payload={"version": None if version is None else version.pk}
    )


line = Line(SentimentVersion, lambda v: f"Version s{v.number}", _verified, _announce)
in_production, register, promote = line.in_production, line.register, line.promote


def rollback(*, project_id: int, encoder_sha: str) -> SentimentVersion | None:
    """Put the version before the present one back; before the first, the anchors (None). 409 where nothing has served."""
    nothing = "The anchors read these comments: nothing has been promoted."
    return line.withdraw(project_id=project_id, encoder_sha=encoder_sha, nothing=nothing)
