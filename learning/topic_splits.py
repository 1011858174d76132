"""The `split_topic` job: a topic's members in two groups; the smaller one becomes a topic of its own."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from feedback import outbox
from feedback.jobs import Running
from learning import topic_texts
from learning.core.topics.assignment import halves
from learning.models import Topic, TopicEvent, TopicMember
from learning.topic_erasure import say_again
from learning.topic_turns import take_turn

LEAST = 10  # members; fewer are one topic


def run_split(running: Running) -> dict[str, Any]:
    """Its result names the new topic; none where the topic has gone or is too small. Running it again changes nothing."""
    project_id, number = running.job.project_id, int(running.job.params["topic"])
    if done := running.job.checkpoint.get("born"):
        return {"topic": number, "born": done}
    topic = Topic.objects.filter(project_id=project_id, number=number, died_at=None).first()
    if topic is None:
        return {"topic": number, "born": None, "why": "The topic is no more."}
    texts = topic_texts.read(project_id=project_id, encoder_sha=topic.encoder_sha, topic=topic)
    if len(texts) < LEAST:
        return {"topic": number, "born": None, "why": f"It has fewer than {LEAST} texts."}
    running.report(0.3, "splitting")
    part = texts.ids[halves(texts.x, seed=number)].tolist()
    born = _write(running, topic, part)
    say_again(project_id=project_id, encoder_sha=topic.encoder_sha)
    return {"topic": number, "born": born.number}


def _write(running: Running, topic: Topic, part: list[int]) -> Topic:
    with transaction.atomic():
        running.hold()
        take_turn(topic.project_id)
        last = Topic.objects.filter(project_id=topic.project_id).aggregate(last=Max("number"))["last"]
        born = Topic.objects.create(
            project_id=topic.project_id, encoder_sha=topic.encoder_sha, number=last + 1, slot=(topic.slot + 3) % 8,
            born_at=timezone.now(), notes=topic.notes, owner_id=topic.owner_id,
        )  # fmt: skip
        TopicMember.objects.filter(pk__in=part, topic=topic).update(topic=born, settled=True)
        TopicMember.objects.filter(topic=topic).update(settled=True)
        actor = running.job.params.get("by")
        TopicEvent.objects.create(topic=born, kind="split", others=[topic.number], actor_id=actor)
        payload = {"topic": born.pk, "from": [topic.number]}
        outbox.publish(kind="topic.born", project_id=topic.project_id, payload=payload)
        running.save_checkpoint({"born": born.number})
    return born
