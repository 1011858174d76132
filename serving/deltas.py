"""Weight deltas between two versions: written by the one owner of a version's live head, read by every web process.

A delta is a file under `<artifacts>/deltas/<version's manifest hash>/`, named by its number and hash, durable before the
row that names it is committed. The row carries the owner's token: who was replaced publishes nothing. Each delta is
whole, so readers need only the last one, and older files are removed.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from feedback import outbox
from serving import storage
from serving.artifacts import CorruptBundle
from serving.head import HeadDelta
from serving.models import Delta, LiveState, ModelVersion

KEPT = 3  # files: a reader that has just read the row must still find its delta


class Replaced(Exception):
    """Another owner follows this version now: stop without writing anything."""


@dataclass(frozen=True)
class Facts:
    """What is known of a delta besides its weights."""

    changes: int
    guard_accuracy: float | None


def folder(manifest_sha: str) -> Path:
    return Path(settings.ENSO_ARTIFACTS) / "deltas" / manifest_sha


def take_over(version_id: int) -> LiveState:
    """Become the one who may publish for this version; whoever was before is fenced off."""
    with transaction.atomic():
        LiveState.objects.get_or_create(model_id=version_id)
        LiveState.objects.filter(pk=version_id).update(token=uuid.uuid4())
        return LiveState.objects.get(pk=version_id)


def publish(*, version: ModelVersion, token: uuid.UUID | None, delta: HeadDelta, facts: Facts) -> LiveState:
    """Make a delta the one that is served. Raises Replaced, and ValueError for the delta of another version.

    The same or an older number changes nothing: a delta is never applied twice.
    """
    if delta.base != version.manifest_sha:
        raise ValueError(f"delta {delta.number} belongs to {delta.base[:12]}, not to {version}")
    data = delta.to_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    storage.write(folder(delta.base) / _name(delta.number, sha256), data)
    with transaction.atomic():
        state = _held(version.pk, token)
        if delta.number <= state.number:
            return state
        Delta.objects.create(
            model=version,
            number=delta.number,
            sha256=sha256,
            changes=facts.changes,
            guard_accuracy=facts.guard_accuracy,
        )
        state.number, state.sha256, state.changes = delta.number, sha256, facts.changes
        state.guard_accuracy, state.published_at = facts.guard_accuracy, timezone.now()
        state.save(update_fields=["number", "sha256", "changes", "guard_accuracy", "published_at"])
    _remove_older(delta.base, delta.number)
    return state


def freeze(*, version: ModelVersion, token: uuid.UUID | None, reason: str) -> None:
    """Keep the last good delta in service until a person decides, and say so. Raises Replaced."""
    with transaction.atomic():
        state = _held(version.pk, token)
        if state.frozen == reason:
            return
        first, state.frozen, state.frozen_at = not state.frozen, reason, timezone.now()
        state.save(update_fields=["frozen", "frozen_at"])
        if first:
            payload = {"model": version.pk, "delta": state.number, "reason": reason}
            outbox.publish(kind="head.frozen", project_id=version.project_id, payload=payload)


def thawed(*, version: ModelVersion, token: uuid.UUID | None, accepted: bool = False) -> None:
    """Deltas are published again, because the guard set agrees or (``accepted``) a person does. Raises Replaced."""
    with transaction.atomic():
        state = _held(version.pk, token)
        if accepted:
            LiveState.objects.filter(pk=version.pk).update(accepted_at=timezone.now())
        if state.frozen:
            LiveState.objects.filter(pk=version.pk).update(frozen="", frozen_at=None)
            outbox.publish(kind="head.thawed", project_id=version.project_id, payload={"model": version.pk})


def wish(*, version_id: int, wish: str) -> None:
    """Ask the owner for something (see LiveState.Wish)."""
    LiveState.objects.filter(pk=version_id).update(wish=wish)


def granted(*, version_id: int, token: uuid.UUID | None, wish: str) -> None:
    """The owner has done what was wished for, unless something else is wished for by now."""
    LiveState.objects.filter(pk=version_id, token=token, wish=wish).update(wish=LiveState.Wish.NONE)


def load(*, manifest_sha: str, number: int, sha256: str) -> HeadDelta:
    """A delta whose bytes have the hash that was recorded. Raises CorruptBundle."""
    path = storage.local(folder(manifest_sha) / _name(number, sha256))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptBundle(f"delta {number} in {path} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CorruptBundle(f"delta {number} in {path} was changed.")
    return HeadDelta.from_bytes(data)


def _held(version_id: int, token: uuid.UUID | None) -> LiveState:
    """The row, locked, if it is still ours."""
    state = LiveState.objects.select_for_update().filter(pk=version_id, token=token).first()
    if state is None:
        raise Replaced(f"version {version_id} is followed by another owner")
    return state


def _name(number: int, sha256: str) -> str:
    return f"{number:010d}-{sha256}.delta"


def _remove_older(manifest_sha: str, number: int) -> None:
    """Files that no reader can still be after; among them what a killed owner wrote and never published."""
    for path in folder(manifest_sha).glob("*.delta"):
        if int(path.name.split("-")[0]) <= number - KEPT:
            storage.remove(path)
