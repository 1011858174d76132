"""Writing a round: one fenced transaction over topics, their members, what happened to them, and who is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray

from feedback import outbox
from feedback.jobs import Running
from learning.core.drift.geometry import Floats, Ints
from learning.core.topics.drawing import slots
from learning.core.topics.identity import Event
from learning.models import Topic, TopicEvent, TopicMember, TopicRun
from learning.topic_models import SLOTS
from learning.topic_summaries import distances
from learning.topic_turns import take_turn

_MEMBERS = """
UPDATE learning_topicmember m SET topic_id = v.topic, noise = v.noise, settled = v.settled, distance = v.distance,
    x = v.x, y = v.y, run_id = %s
FROM unnest(%s::bigint[], %s::bigint[], %s::bool[], %s::bool[], %s::float8[], %s::float8[], %s::float8[])
    AS v(id, topic, noise, settled, distance, x, y)
WHERE m.id = v.id
"""
_INHERITED = ("notes", "owner_id", "muted")  # of a part that splits off; the name stays with the larger part


class Overtaken(Exception):
    """A person has split a topic since its texts were read: another attempt reads them again."""


class Gone(Exception):
    """Texts that the figures speak of have been erased meanwhile."""


@dataclass(frozen=True)
class Written:
    """Members (n,) and what a round says of them; `figures` are columns of `Topic` by id."""

    members: NDArray[np.int64]
    x: Floats
    ids: Ints
    noise: NDArray[np.bool_]
    settled: NDArray[np.bool_]
    points: Floats
    figures: dict[int, dict[str, Any]]
    at: datetime
    splits: int  # by people, when the texts were read


def write(running: Running, row: dict[str, Any], found: Written, events: Iterable[Event]) -> TopicRun:
    """All of it, or nothing: Fenced when another attempt owns the job, Gone when a text is no more, Overtaken after a split."""
    with transaction.atomic():
        running.hold()
        take_turn(row["project_id"])
        if splits(row["project_id"]) != found.splits:
            raise Overtaken("a topic was split meanwhile: its texts are read again")
        there = TopicMember.objects.filter(project_id=row["project_id"], encoder_sha=row["encoder_sha"])
        if there.filter(pk__in=found.members.tolist()).count() != len(found.members):
            raise Gone
        run = TopicRun.objects.create(**row)
        topics = _topics(run, found)
        _write_members(run, found, topics)
        happened = list(events)
        for event in happened:
            _happen(run, event, topics, found.at)
        if run.kind != TopicRun.Kind.FIT:
            _tell(run, happened, topics)
    return run


def splits(project_id: int) -> int:
    """How many topics people have split."""
    return TopicEvent.objects.filter(topic__project_id=project_id, kind="split", run=None).count()


def _topics(run: TopicRun, found: Written) -> dict[int, Topic]:
    """Every id's topic with its new figures: those that live, the heirs of what a person has merged meanwhile, and fresh ones."""
    same = Topic.objects.filter(project_id=run.project_id, encoder_sha=run.encoder_sha).select_related("heir")
    known = {t.number: t for t in same.select_for_update(of=("self",))}
    topics = {number: _living(known[number], known) for number in found.figures if number in known}
    fresh = [number for number in sorted(found.figures) if number not in known]
    marks = _marks(list(topics.values()), [found.figures[number] for number in fresh])
    for number, slot in zip(fresh, marks, strict=True):
        topics[number] = Topic(
            project_id=run.project_id, encoder_sha=run.encoder_sha, number=number, slot=slot, born_at=found.at, born_in=run
        )  # fmt: skip
    for number, topic in topics.items():
        if topic.number == number:  # an heir keeps its own figures until the next run
            for column, value in found.figures[number].items():
                setattr(topic, column, value)
    Topic.objects.bulk_create([topics[n] for n in fresh])
    kept = [t for n, t in topics.items() if n not in fresh and t.number == n]
    if kept:
        Topic.objects.bulk_update(kept, list(next(iter(found.figures.values()))), batch_size=200)
    return topics


def _living(topic: Topic, known: dict[int, Topic]) -> Topic:
    """The topic itself, or whoever inherited it."""
    seen = set()
    while topic.died_at and topic.heir and topic.number not in seen:
        seen.add(topic.number)
        topic = known[topic.heir.number]
    return topic


def _marks(topics: list[Topic], fresh: list[dict[str, Any]]) -> list[int]:
    """Marks for fresh topics that tell them from their neighbours."""
    if not fresh:
        return []
    taken = np.array([[t.x or 0.0, t.y or 0.0] for t in topics], np.float32).reshape(-1, 2)
    places = np.array([[f["x"], f["y"]] for f in fresh], np.float32)
    found = slots(places, taken, np.array([t.slot for t in topics], np.int64), slots=SLOTS)
    return [int(slot) for slot in found]


def _write_members(run: TopicRun, found: Written, topics: dict[int, Topic]) -> None:
    columns = (
        found.members, np.array([topics[int(i)].pk for i in found.ids], np.int64), found.noise, found.settled,
        distances(found.x, found.ids, found.figures), found.points[:, 0].astype(float), found.points[:, 1].astype(float),
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_MEMBERS, [run.pk, *(column.tolist() for column in columns)])


def _happen(run: TopicRun, event: Event, topics: dict[int, Topic], at: datetime) -> None:
    """Keep the event; what split off inherits from its parent, what was absorbed or scattered has died."""
    own = Topic.objects.filter(project_id=run.project_id, encoder_sha=run.encoder_sha)
    topic = topics.get(event.topic) or own.get(number=event.topic)
    TopicEvent.objects.create(topic=topic, kind=event.kind, others=list(event.others), run=run)
    if event.kind == "split":
        parent = own.get(number=event.others[0])
        own.filter(pk=topic.pk).update(**{column: getattr(parent, column) for column in _INHERITED})
    elif event.kind == "merge":
        own.filter(number__in=event.others, died_at=None).update(died_at=at, heir=topic, size=0)
    elif event.kind == "death":
        own.filter(pk=topic.pk, died_at=None).update(died_at=at, size=0)


def _tell(run: TopicRun, events: list[Event], topics: dict[int, Topic]) -> None:
    """Newborn topics, to whoever listens (webhooks). The first topics of a project are no news."""
    for event in events:
        if event.kind in ("birth", "split"):
            payload = {"topic": topics[event.topic].pk, "from": list(event.others)}
            outbox.publish(kind="topic.born", project_id=run.project_id, payload=payload)
