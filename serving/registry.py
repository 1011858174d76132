"""Model versions: registering, judging, approving, promoting, rolling back, naming.

A version is registered (none), passes its gates (staging) or not (rejected), serves (production) and is replaced
(archived); from there it may serve again. It serves only when its bundle verifies and nothing bars it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db.models import Q
from django.utils import timezone

from feedback import outbox
from feedback.problems import Problem, invalid
from serving import storage
from serving.artifacts import Bundle, CorruptBundle, load_bundle
from serving.head import VECTORS
from serving.lines import Line
from serving.models import Alias, ModelVersion, Rollout, Stage
from serving.rollout_models import IN_PROGRESS


def bundle_path(manifest_sha: str) -> Path:
    """Where a bundle lies here; fetched first where only the bucket has it."""
    return storage.local(Path(settings.ENSO_ARTIFACTS) / manifest_sha)


def open_bundle(version: ModelVersion) -> Bundle:
    """The verified bundle of a version; raises CorruptBundle naming the file that does not match."""
    return load_bundle(bundle_path(version.manifest_sha), version.manifest_sha)


def _announce(project_id: int, version: ModelVersion | None) -> None:
    if version is not None:
        outbox.publish(kind="model.promoted", project_id=project_id, payload={"model": version.pk})


line = Line(ModelVersion, lambda v: f"Version {v.number}", open_bundle, _announce, bars=lambda v: v.barred)
in_production, register = line.in_production, line.register


def judge(*, version_id: int, passed: bool, **fields: Any) -> ModelVersion:
    """The gates have spoken about a version that is registered: it waits in staging, or is rejected for good."""
    version = ModelVersion.objects.select_for_update().get(pk=version_id)
    if version.stage != Stage.NONE:
        raise Problem(
            409, "already-judged", f"Version {version.number} has been judged already: it is {version.stage}."
        )
    for name, value in {**fields, "stage": Stage.STAGING if passed else Stage.REJECTED}.items():
        setattr(version, name, value)
    version.save(update_fields=["stage", *fields])
    return version


def stage(*, version_id: int) -> None:
    """Say that a version waits in staging for a person. Call it inside the transaction that judged it."""
    version = ModelVersion.objects.get(pk=version_id)
    outbox.publish(kind="model.staged", project_id=version.project_id, payload={"model": version.pk})


def promote(*, version_id: int, by: str = "") -> ModelVersion:
    """Put a version into production in place of the one that serves; ``by`` names who asked for it.

    409 when its bundle is damaged, a gate failed or has not spoken, or something bars it.
    """
    now = timezone.now()
    approved = {"approved_by": by[:80], "approved_at": now} if by else {}
    return line.promote(version_id=version_id, promoted_at=now, **approved)


def rollback(*, project_id: int, encoder_sha: str, to: int | None = None, by: str = "") -> ModelVersion:
    """Put a version back that has served before: number ``to``, or the latest before the present one; 409 without one."""
    if to is not None:
        found = line.of(project_id=project_id, encoder_sha=encoder_sha).filter(stage=Stage.ARCHIVED, number=to).first()
        if found is None:
            why = f"Version {to} has not served for this encoder, or serves now."
            raise Problem(409, "not-archived", why, field="to")
        return promote(version_id=found.pk, by=by)
    previous = line.earlier(project_id=project_id, encoder_sha=encoder_sha)
    if previous is None:
        raise Problem(409, "nothing-to-roll-back-to", "No earlier version has served here that may serve again.")
    return promote(version_id=previous.pk, by=by)


def bar(*, version_ids: Iterable[int], why: str) -> int:
    """Let versions not be promoted any more; returns how many. What serves goes on until it is replaced."""
    return ModelVersion.objects.filter(pk__in=list(version_ids), barred="").update(barred=why[:200])


def forget_vectors(*, project_id: int) -> list[int]:
    """Delete the bundles of versions that are barred, serve no more and hold vectors of customers' texts; returns their numbers.

    A head that looks up neighbours carries its pool. The row stays, with what is known of the version.
    """
    gone = []
    in_use = Q(barred="") | Q(stage=Stage.PRODUCTION) | Q(rollouts__in=Rollout.objects.filter(IN_PROGRESS))
    for version in ModelVersion.objects.filter(project_id=project_id).exclude(in_use).order_by("number"):
        shared = ModelVersion.objects.filter(in_use, manifest_sha=version.manifest_sha).exists()
        if not shared and _holds_vectors(version):
            storage.remove_folder(Path(settings.ENSO_ARTIFACTS) / version.manifest_sha)
            gone.append(version.number)
    return gone


def _holds_vectors(version: ModelVersion) -> bool:
    try:
        return VECTORS in open_bundle(version).manifest["preprocessing"]
    except CorruptBundle:  # gone already, or damaged: then nobody can say, and it serves nothing
        return False


def name_version(*, version_id: int, name: str) -> Alias:
    """Let a name stand for this version, and for no other of its project. 422 for what is no slug of up to 40 characters."""
    try:
        validate_slug(name)
    except ValidationError as error:
        raise invalid("name", "A name has letters, digits, - and _ only.") from error
    if len(name) > 40 or name.isdecimal():
        raise invalid("name", "A name has up to 40 characters and is not a number: numbers are versions.")
    version = ModelVersion.objects.get(pk=version_id)
    alias, _ = Alias.objects.update_or_create(project_id=version.project_id, name=name, defaults={"model": version})
    return alias


def unname(*, project_id: int, name: str) -> bool:
    """Take a name away; False where nothing has it."""
    return bool(Alias.objects.filter(project_id=project_id, name=name).delete()[0])


def find(*, project_id: int, wanted: str) -> ModelVersion | None:
    """A version by its number (with or without v) or by a name that stands for it."""
    number = wanted.removeprefix("v")
    versions = ModelVersion.objects.filter(project_id=project_id)
    if number.isdecimal() and len(number) < 10:
        return versions.filter(number=int(number)).first()
    return versions.filter(aliases__name=wanted).first()
