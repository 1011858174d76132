"""What webhooks are told about topics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from feedback.models import OutboxEvent
from feedback.webhooks import tells
from learning.models import Topic


@dataclass(frozen=True)
class TopicBorn:
    """Customers talk about something that they did not talk about before; `split_from` is the topic it was part of.

    Its keywords are for whoever may read the project's topics: a notice outlives an erasure, and quotes nobody.
    """

    kind: ClassVar[str] = "topic.born"
    topic: int
    texts: int
    split_from: list[int]


@tells(TopicBorn)
def topic_born(row: OutboxEvent) -> TopicBorn | None:
    found = Topic.objects.filter(pk=row.payload["topic"], died_at=None).first()
    return None if found is None else TopicBorn(found.number, found.size, row.payload["from"])
