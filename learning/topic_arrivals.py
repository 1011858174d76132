"""Texts that arrive get the topic of their nearest neighbours within a minute: numpy alone, no umap.

What is known of a map is kept in memory until its next run. Nothing here founds a topic; that is the daily run's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from learning import topic_texts
from learning.core.drift.geometry import Floats, Ints
from learning.core.topics.assignment import Assignment, centres, nearest_topics, own_distances, placed
from learning.models import Topic, TopicEvent, TopicMember, TopicRun
from learning.topic_texts import Texts
from learning.topic_turns import take_turn

RECENT = timedelta(days=2)  # what is older waits for the daily run, which looks at everything
MOST = 512  # texts of a project at a time
KEPT = 10_000  # settled texts of a map that vote, evenly spaced: 15 MB at 384 dimensions
ODD = 0.05  # a p-value at which a text is marked as noise
MAPS = 4  # remembered at once

# The settled texts of a map are the same until its next run, or until a person moves some.
State = tuple[int, int]


@dataclass(frozen=True)
class Reference:
    """Settled texts of a map: vectors (n, d), topic numbers (n,), places (n, 2), their own nearest distances."""

    state: State
    x: Floats
    topics: Ints
    points: Floats
    own: Floats


_references: dict[tuple[int, str], Reference] = {}


def place_arrivals(*, project_id: int, most: int = MOST) -> int:
    """Give texts of the last days a topic where there are topics; returns how many got one."""
    alive = Topic.objects.filter(project_id=project_id, died_at=None)
    maps = sorted(alive.values_list("encoder_sha", flat=True).distinct())
    if not maps:
        return 0
    topic_texts.gather(project_id=project_id, most=most, since=timezone.now() - RECENT)
    return sum(_place(project_id, sha, most) for sha in maps)


def _place(project_id: int, sha: str, most: int) -> int:
    loose = TopicMember.objects.filter(project_id=project_id, encoder_sha=sha, topic=None)
    ids = list(loose.order_by("-pk").values_list("pk", flat=True)[:most])
    texts = topic_texts.read(project_id=project_id, encoder_sha=sha, pk__in=ids)
    if not len(texts):
        return 0
    known = reference(project_id, sha)
    if len(known.x) < 2:
        return 0
    found = nearest_topics(known.x, known.topics, texts.x, own=known.own)
    return _write(project_id, sha, texts, known, found, placed(known.x, known.points, texts.x))


def _write(project_id: int, sha: str, texts: Texts, known: Reference, found: Assignment, points: Floats) -> int:
    """One transaction; nothing where a run or a person has changed the map meanwhile: the next look sees it as it is."""
    numbers = np.unique(found.ids)
    with transaction.atomic():
        take_turn(project_id)
        if _state(project_id, sha) != known.state:
            return 0
        topics = {t.number: t for t in Topic.objects.filter(project_id=project_id, number__in=numbers.tolist())}
        middle = centres(known.x, known.topics, numbers)
        distance = 1 - (texts.x * middle[np.searchsorted(numbers, found.ids)]).sum(1)
        rows = zip(texts.ids, found.ids, found.p_values <= ODD, distance, points, strict=True)
        members = [
            TopicMember(pk=int(pk), topic=topics[int(i)], noise=bool(odd), distance=float(d), x=float(at[0]), y=float(at[1]))
            for pk, i, odd, d, at in rows
        ]  # fmt: skip
        TopicMember.objects.bulk_update(members, ["topic", "noise", "distance", "x", "y"], batch_size=500)
        for number, count in zip(*np.unique(found.ids, return_counts=True), strict=True):
            Topic.objects.filter(pk=topics[int(number)].pk).update(size=F("size") + int(count))
    return len(members)


def reference(project_id: int, encoder_sha: str) -> Reference:
    """What is known of a map now, from memory where it has not changed."""
    key, state = (project_id, encoder_sha), _state(project_id, encoder_sha)
    kept = _references.get(key)
    if kept is None or kept.state != state:
        kept = _references[key] = _read(project_id, encoder_sha, state)
        while len(_references) > MAPS:
            _references.pop(next(iter(_references)))
    return kept


def forget() -> None:
    """Start anew (tests)."""
    _references.clear()


def _read(project_id: int, encoder_sha: str, state: State) -> Reference:
    settled = TopicMember.objects.filter(
        project_id=project_id, encoder_sha=encoder_sha, settled=True, topic__died_at=None
    ).exclude(topic=None)
    ids = list(settled.order_by("pk").values_list("pk", flat=True))
    some = ids[:: max(1, -(-len(ids) // KEPT))]
    texts = topic_texts.read(project_id=project_id, encoder_sha=encoder_sha, pk__in=some)
    own = own_distances(texts.x) if len(texts) > 1 else np.zeros(0, np.float32)
    return Reference(state, texts.x, texts.topics, np.nan_to_num(texts.points), own)


def _state(project_id: int, encoder_sha: str) -> State:
    runs = TopicRun.objects.filter(project_id=project_id, encoder_sha=encoder_sha).order_by("-pk")
    acts = TopicEvent.objects.filter(topic__project_id=project_id, topic__encoder_sha=encoder_sha).order_by("-pk")
    return runs.values_list("pk", flat=True).first() or 0, acts.values_list("pk", flat=True).first() or 0
