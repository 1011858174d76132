"""A line of versions: of each kind of bundle at most one serves per project and encoder variant, the others stand behind it.

What heads, sentiment heads and reply policies have in common. A version is numbered within its project, has the one that
served when it was made as parent, and serves only when its bundle verifies and no gate stopped it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import models, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from feedback.models import Project
from feedback.problems import Problem
from serving.artifacts import Bundle, CorruptBundle
from serving.models import Stage

V = TypeVar("V", bound=models.Model)


@dataclass(frozen=True)
class Line(Generic[V]):
    """Versions of ``model``, whose stages are those of `serving.models.Stage`.

    ``name`` says what a person calls one ("Version 3"). ``verify`` raises CorruptBundle for one that cannot serve.
    ``announce`` publishes what serves from now on in a project, None for what serves without any version.
    ``bars`` says in a sentence why a version that no gate stopped may not serve, "" where it may.
    """

    model: type[V]
    name: Callable[[V], str]
    verify: Callable[[V], object]
    announce: Callable[[int, V | None], object]
    bars: Callable[[V], str] = lambda version: ""

    def of(self, *, project_id: int, encoder_sha: str) -> QuerySet[V]:
        return self._all().filter(project_id=project_id, encoder_sha=encoder_sha)

    def in_production(self, *, project_id: int, encoder_sha: str) -> V | None:
        return self.of(project_id=project_id, encoder_sha=encoder_sha).filter(stage=Stage.PRODUCTION).first()

    def register(self, *, project_id: int, bundle: Bundle, encoder_sha: str, **fields: Any) -> V:
        """A new version, numbered within its project; its parent is the one in production."""
        with transaction.atomic():
            self._lock(project_id)
            last = self._all().filter(project_id=project_id).aggregate(n=Max("number"))["n"] or 0
            return self._all().create(
                project_id=project_id, number=last + 1, encoder_sha=encoder_sha, manifest_sha=bundle.sha256, kind=bundle.kind,
                parent=self.in_production(project_id=project_id, encoder_sha=encoder_sha), **fields,
            )  # fmt: skip

    def promote(self, *, version_id: int, **fields: Any) -> V:
        """Let a version serve from now on, and note ``fields``. 409 where its bundle is damaged or something stops it."""
        version: Any = self._all().get(pk=version_id)
        try:
            self.verify(version)
        except CorruptBundle as error:
            raise Problem(409, "corrupt-bundle", f"{self.name(version)} cannot serve: {error}") from error
        with transaction.atomic():
            self._lock(version.project_id)
            version.refresh_from_db()
            if version.stage != Stage.PRODUCTION:
                self._may_serve(version)
                self._retire(version.project_id, version.encoder_sha)
                noted = {"stage": Stage.PRODUCTION, "promoted_at": timezone.now(), **fields}
                for name, value in noted.items():
                    setattr(version, name, value)
                version.save(update_fields=list(noted))
                self.announce(version.project_id, version)
        found: V = version
        return found

    def earlier(self, *, project_id: int, encoder_sha: str) -> V | None:
        """The latest version before the one in production that has served and still may."""
        archived = self.of(project_id=project_id, encoder_sha=encoder_sha).filter(stage=Stage.ARCHIVED)
        serving: Any = self.in_production(project_id=project_id, encoder_sha=encoder_sha)
        if serving is not None:
            archived = archived.filter(number__lt=serving.number)
        return next((v for v in archived.order_by("-number") if not self.bars(v)), None)

    def withdraw(self, *, project_id: int, encoder_sha: str, nothing: str) -> V | None:
        """Put the version before the present one back; before the first, what serves without any (None).

        409 with the sentence ``nothing`` where no version serves.
        """
        if self.in_production(project_id=project_id, encoder_sha=encoder_sha) is None:
            raise Problem(409, "nothing-to-roll-back-to", nothing)
        if (previous := self.earlier(project_id=project_id, encoder_sha=encoder_sha)) is not None:
            return self.promote(version_id=previous.pk)
        with transaction.atomic():
            self._lock(project_id)
            self._retire(project_id, encoder_sha)
            self.announce(project_id, None)
        return None

    def _may_serve(self, version: V) -> None:
        stage: str = version.stage  # type: ignore[attr-defined]
        if stage == Stage.REJECTED:
            raise Problem(409, "gate-failed", f"{self.name(version)} failed a gate and cannot serve.")
        if stage == Stage.NONE:
            raise Problem(409, "not-judged", f"{self.name(version)} has not passed its gates yet.")
        if why := self.bars(version):
            raise Problem(409, "barred", f"{self.name(version)} cannot serve any more: {why}.")

    def _all(self) -> QuerySet[V]:
        return self.model._default_manager.all()

    def _retire(self, project_id: int, encoder_sha: str) -> None:
        same = self.of(project_id=project_id, encoder_sha=encoder_sha)
        same.filter(stage=Stage.PRODUCTION).update(stage=Stage.ARCHIVED)

    def _lock(self, project_id: int) -> None:
        Project.objects.select_for_update(no_key=True).get(pk=project_id)
