"""The process that keeps live heads: it looks for labels that moved several times a second and publishes their deltas.

One process at a time owns a version: it holds an advisory lock that PostgreSQL frees the moment its connection ends, so a
killed owner is replaced at once; a fencing token in every write stops an owner that only seemed dead. Several such
processes share the versions between them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from django.db import close_old_connections, connection
from django.utils import timezone

from learning import journal
from learning.live import COMPARE_EVERY, OVERLAP, Follower, Reopen
from serving.artifacts import CorruptBundle
from serving.deltas import Replaced
from serving.models import ModelVersion

log = logging.getLogger(__name__)
LOOK_EVERY = 0.2  # seconds
TRY_AGAIN = timedelta(seconds=30)
LOCK = 0x656E736F  # the class of our advisory locks; the other half is the version's id

_LOOK = """
SELECT m.id, p.revision, coalesce(l.wish, ''),
    EXISTS (SELECT 1 FROM labeling_label x WHERE x.project_id = m.project_id AND x.settled_at > %s)
FROM serving_modelversion m JOIN feedback_project p ON p.id = m.project_id
LEFT JOIN serving_livestate l ON l.model_id = m.id WHERE m.stage = 'production' OR EXISTS (
    SELECT 1 FROM serving_rollout r WHERE r.candidate_id = m.id AND r.state IN ('running', 'held'))
"""


@dataclass(frozen=True)
class Sight:
    """What one look at a version in production, or on trial beside it, showed."""

    version: int
    revision: int
    wish: str
    stirred: bool


class Owner:
    """Followers of the versions that this process owns."""

    def __init__(self, locks: psycopg.Connection[tuple[object, ...]]) -> None:
        self._locks = locks
        self.followers: dict[int, Follower] = {}
        self._refused: dict[int, datetime] = {}
        self._looked_at: datetime | None = None

    def step(self) -> int:
        """One look at every version in production; returns how many deltas were published."""
        now = timezone.now()
        since = self._looked_at or now
        sights = _look(since - OVERLAP)
        for gone in self.followers.keys() - {s.version for s in sights}:
            self._let_go(gone)
        published = sum(self._attend(sight, since) for sight in sights)
        self._looked_at = now
        return published

    def _attend(self, sight: Sight, since: datetime) -> bool:
        follower = self.followers.get(sight.version)
        try:
            if follower is None:
                follower = self._open(sight)
                return follower is not None and follower.publish()
            return _follow(follower, sight, since)
        except (Reopen, Replaced, ValueError) as reason:
            log.warning("version %s is opened anew: %s", sight.version, reason)
            self._let_go(sight.version)
        return False

    def _open(self, sight: Sight) -> Follower | None:
        """Become the owner of a version; None where somebody else is, or it cannot follow labels."""
        if self._refused.get(sight.version, timezone.now()) > timezone.now() or not self._lock(sight.version):
            return None
        version = ModelVersion.objects.get(pk=sight.version)
        try:
            follower = Follower.open(version)
        except (LookupError, CorruptBundle, ValueError) as error:
            log.warning("version %s is served as it was made: %s", version, error)
            self._refused[sight.version] = timezone.now() + TRY_AGAIN
            self._unlock(sight.version)
            return None
        follower.revision = sight.revision
        self.followers[sight.version] = follower
        log.info("version %s follows labels from delta %s on", version, follower.head.number)
        return follower

    def _let_go(self, version: int) -> None:
        self.followers.pop(version, None)
        self._unlock(version)

    def _lock(self, version: int) -> bool:
        found = self._locks.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK, version]).fetchone()
        return bool(found and found[0])

    def _unlock(self, version: int) -> None:
        self._locks.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK, version])


def _follow(follower: Follower, sight: Sight, since: datetime) -> bool:
    renamed, follower.revision = sight.revision != follower.revision, sight.revision
    if sight.wish:
        follower.grant(sight.wish)
    compared = follower.compared_at
    if compared is None or timezone.now() - compared > COMPARE_EVERY:
        follower.follow()
    elif sight.stirred:
        journal.embed_labeled(project_id=follower.version.project_id, since=since - OVERLAP)
        follower.follow(since=since)
    elif renamed:
        follower.name_categories()
    return follower.publish()


def _look(since: datetime) -> list[Sight]:
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, [since])
        return [Sight(*row) for row in cursor.fetchall()]


@contextmanager
def lock_connection() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection of its own, outside the pool: its session holds the locks."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as opened:
        yield opened


def run(stop: threading.Event) -> None:
    """Keep live heads until `stop` is set. A server that is away ends this process; its keeper starts it again."""
    with lock_connection() as locks:
        owner = Owner(locks)
        while not stop.wait(LOOK_EVERY):
            close_old_connections()
            owner.step()
