"""What topics say of a customer's texts, said again without them.

Members go with the texts that they name; what was made of them (keywords, typical texts, figures) is made anew here. Imports
scipy: for workers only.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from learning import topic_texts
from learning.models import Topic, TopicMember
from learning.topic_summaries import said, summarised
from learning.topic_turns import take_turn

_SPOKEN = {
    "keywords": [],
    "representatives": [],
    "trend": [],
    "size": 0,
    "centroid": b"",
    "sentiment": None,
    "negative": None,
}


def touched(*, project_id: int, customer: str) -> dict[str, int]:
    """Map (encoder variant) → how many of its members are texts of the customer. Before these are deleted."""
    theirs = Q(inquiry__customer=customer) | Q(event__customer=customer) | Q(event__inquiry__customer=customer)
    found: dict[str, int] = {}
    for sha in TopicMember.objects.filter(theirs, project_id=project_id).values_list("encoder_sha", flat=True):
        found[sha] = found.get(sha, 0) + 1
    return found


def say_again(*, project_id: int, encoder_sha: str) -> int:
    """Make every topic's figures anew from the members that are left; how many topics live. May be repeated."""
    with transaction.atomic():
        take_turn(project_id)
        last = TopicMember.objects.filter(project_id=project_id).order_by("-pk").first()
        texts = topic_texts.read(project_id=project_id, encoder_sha=encoder_sha, topic__isnull=False)
        alive = Topic.objects.filter(project_id=project_id, encoder_sha=encoder_sha, died_at=None)
        figures: dict[int, dict[str, Any]] = {}
        if last is not None and len(texts):
            words = said(project_id=project_id, encoder_sha=encoder_sha, upto=last.pk).among(texts.ids)
            figures = summarised(words, texts.x, texts.topics, texts.noise, texts.points, now=timezone.now())
        for topic in alive.select_for_update():
            Topic.objects.filter(pk=topic.pk).update(**figures.get(topic.number, _SPOKEN | {"died_at": timezone.now()}))
        # The dead say nothing any more, whoever their texts were from.
        dead = Topic.objects.filter(project_id=project_id, encoder_sha=encoder_sha, died_at__isnull=False)
        dead.exclude(keywords=[]).update(**_SPOKEN)
    return len(figures)
