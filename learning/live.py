"""The live head of one version in production: opened from its base and the labels, kept current, published under a token.

Whoever opens it becomes its one owner (serving/deltas.py): the state lies in the base on disk and in the labels
themselves, so an owner that is killed is replaced by opening again, and no label is lost or counted twice.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
from django.utils import timezone
from numpy.typing import NDArray

from learning import journal
from learning.core.heads.base import LiveBase
from learning.core.heads.live import LiveHead
from learning.journal import Settled
from serving import deltas, registry, zero_shot
from serving.artifacts import Bundle
from serving.deltas import Facts
from serving.head import VECTORS, OnnxHead
from serving.models import LiveState, ModelVersion
from serving.served import served

log = logging.getLogger(__name__)
LIVE_FILE = "live.base"
# Transactions that settle labels may commit this much later than the time that they carry; a full comparison finds any other.
OVERLAP = timedelta(seconds=5)
COMPARE_EVERY = timedelta(seconds=60)
Wish = LiveState.Wish


class Reopen(Exception):
    """The taxonomy moved in a way that only opening anew follows."""


class Follower:
    """One version's live head and what it has seen. Not safe for several threads."""

    def __init__(self, version: ModelVersion, head: LiveHead, base: journal.Base, token: uuid.UUID | None) -> None:
        self.version, self.head, self.token = version, head, token
        self.seen = dict(base.revisions)
        self._base, self._complete = base.revisions, base.complete
        self.keys = {int(pk): key for key, pk in version.lineage.get("category_ids", {}).items()}
        self.compared_at: datetime | None = None
        self.revision = -1

    @classmethod
    def open(cls, version: ModelVersion) -> Follower:
        """Take over a version and bring its head to the labels as they are. Raises LookupError where it cannot follow."""
        if LIVE_FILE not in registry.open_bundle(version).manifest["files"]:
            raise LookupError(f"{version} cannot follow labels: it was made of category texts alone")
        return cls.prepared(version, deltas.take_over(version.pk))

    @classmethod
    def prepared(cls, version: ModelVersion, state: LiveState) -> Follower:
        """The head as it stands, in memory alone; ``version`` may not be stored yet."""
        bundle, base = registry.open_bundle(version), journal.base_of(version)
        head = LiveHead(
            LiveBase.from_bytes(bundle.read(LIVE_FILE)), base.labels, name=version.manifest_sha, guard=base.guard,
            calibration=base.calibration, number=state.number, neighbours=_neighbours(bundle),
        )  # fmt: skip
        follower = cls(version, head, base, state.token)
        follower._catch_up(state)
        return follower

    def adopt(self, version: ModelVersion) -> None:
        """Publish for a version that has just been stored, with what came since it was prepared."""
        self.version, self.token = version, deltas.take_over(version.pk).token
        self.follow(since=self.compared_at)
        self.publish()

    @property
    def changes(self) -> int:
        """Labels that are not what the base was trained on."""
        return sum(self._base.get(label) != revision for label, revision in self.seen.items()) + len(
            self._base.keys() - self.seen.keys()
        )

    def follow(self, *, since: datetime | None = None) -> int:
        """Take over labels that moved (all are compared without ``since``); returns how many."""
        self.name_categories()
        found = journal.revisions(
            project_id=self.version.project_id, encoder_sha=self.version.encoder_sha, since=since and since - OVERLAP
        )
        gone = [] if since else [label for label in self.seen if label not in found]
        moved = [label for label, revision in found.items() if self.seen.get(label) != revision]
        taken = self._take(journal.changes(encoder_sha=self.version.encoder_sha, inquiries=moved))
        self._forget(gone)
        if since is None:
            self.compared_at = timezone.now()
        return taken + len(gone)

    def publish(self) -> bool:
        """Publish what has changed, or freeze; True where there is a new delta. Raises Replaced."""
        known = self.head.number
        delta = self.head.publish()
        if self.head.frozen:
            deltas.freeze(version=self.version, token=self.token, reason=self.head.frozen)
        if delta.number == known:
            return False
        deltas.publish(version=self.version, token=self.token, delta=delta, facts=self.facts())
        return True

    def facts(self) -> Facts:
        accuracy = self.head.guard_accuracy
        return Facts(self.changes, None if np.isnan(accuracy) else accuracy)

    def grant(self, wish: str) -> None:
        """Do what a person (or an erasure) asked for. Raises Reopen where that means starting from the base."""
        if wish == Wish.RECOUNT and self.head.frozen:
            deltas.granted(version_id=self.version.pk, token=self.token, wish=wish)
            raise Reopen("labels were erased while the head is frozen")
        if wish == Wish.RECOUNT:
            self.follow()
        elif self.head.thaw(accept=wish == Wish.ACCEPT):
            deltas.thawed(version=self.version, token=self.token, accepted=wish == Wish.ACCEPT)
        self.publish()
        deltas.granted(version_id=self.version.pk, token=self.token, wish=wish)

    def name_categories(self) -> None:
        """Follow new, renamed, merged and archived categories. Labels that a merge moved are still where they were."""
        keys, active = journal.keys_of(self.version.project_id)
        for pk, key in keys.items():
            old = self.keys.get(pk)
            if old is not None and old != key and old in self.head.categories:
                self.head.rename_category(old, key)
            self.keys[pk] = key
        gone = [key for key in self.head.categories if key not in active]
        fresh = [key for key in sorted(active) if key not in self.head.categories]
        for key, texts in self._prototypes(fresh).items():
            self.head.add_category(key, texts)
        for key in gone:
            self._remove(key)

    def _remove(self, key: str) -> None:
        """An archived category: where all of its labels went to one other, the two were merged."""
        labels = self.head.journal.labels_of(key)
        now = journal.changes(encoder_sha=self.version.encoder_sha, inquiries=labels)
        into = {settled.change.category for settled in now}
        target = next(iter(into)) if len(into) == 1 else None
        if target is not None and target in self.head.categories:
            self.head.merge_categories([key], target)
        else:
            self._take(now)
            self.head.delete_category(key)

    def _prototypes(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        if not keys:
            return {}
        desk = served.desk(self.version.project_id)
        served.refresh()
        desk = served.desk(self.version.project_id)
        texts = served.prototypes(desk, served.encoder_by_sha(self.version.encoder_sha))
        known = {key: zero_shot.prototype(rows) for key, rows in zip(desk.categories, texts, strict=True)}
        return {key: known[key] for key in keys if key in known}

    def _take(self, settled: Sequence[Settled]) -> int:
        known = [s.change for s in settled if s.change.category is None or s.change.category in self.head.categories]
        self.seen |= {change.label: change.number for change in known}
        return self.head.apply_all(known)

    def _forget(self, labels: Sequence[str]) -> None:
        self.head.forget(labels)
        for label in labels:
            self.seen.pop(label)
            self._base.pop(label, None)

    def _catch_up(self, state: LiveState) -> None:
        """From the base to now: judged as it went on before, so that a restart neither thaws nor freezes a head."""
        self.name_categories()
        found = journal.revisions(project_id=self.version.project_id, encoder_sha=self.version.encoder_sha)
        self._forget([label for label in self.seen if label not in found])
        moved = [label for label, revision in found.items() if self.seen.get(label) != revision]
        settled = journal.changes(encoder_sha=self.version.encoder_sha, inquiries=moved)
        if state.number or not self._complete:
            # What is served may hold labels that were erased while nobody followed: it is replaced in any case.
            self.head.expect_delta()
        if state.accepted_at is not None:
            self._take([s for s in settled if s.at <= state.accepted_at])
            self.head.thaw(accept=True)
        if state.frozen:
            self._take([s for s in settled if state.published_at is not None and s.at <= state.published_at])
            self.publish()
            self.head.frozen = state.frozen
        self._take(settled)
        self.compared_at = timezone.now()


def _neighbours(bundle: Bundle) -> Callable[[npt.ArrayLike], NDArray[np.float32]] | None:
    """How the bundle's graph looks up neighbours; None for one that does not."""
    if VECTORS not in bundle.manifest["preprocessing"]:
        return None
    return OnnxHead.load(bundle).neighbour_scores


def behind(version: ModelVersion) -> bool:
    """Whether labels have moved since the snapshot that a version (stored or not) was made from."""
    base = journal.base_of(version).revisions
    return base != journal.revisions(project_id=version.project_id, encoder_sha=version.encoder_sha)
