"""Topics of a project: a planted problem becomes one, keeps its number, and what is killed or erased leaves no trace."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from feedback import jobs
from feedback.jobs import Fenced
from feedback.models import Event, Job, JobState, OutboxEvent, Project
from feedback.services import create_project
from learning import topic_arrivals, topic_erasure, topic_runs
from learning.models import Topic, TopicEvent, TopicMember, TopicRun
from learning.sample.grammar import generate
from tests.conftest import CATEGORIES

pytestmark = pytest.mark.django_db(transaction=True)
PEOPLE = ("My sister", "My father", "A friend", "My boss", "I", "We all", "My son", "The lady next door")
DAYS = ("yesterday", "on Monday", "this morning", "again", "at noon", "twice", "today", "last night")
CRASHES = [f"{who} saw the barcode scanner app crash {when}" for who in PEOPLE[:5] for when in DAYS]
SONGS = [f"{who} loved the village choir singing {when}" for who in PEOPLE for when in DAYS]


@pytest.fixture(autouse=True)
def _forgetful() -> None:
    topic_arrivals.forget()


@pytest.fixture
def shop(db: None) -> Project:
    return create_project(slug="shop", name="Shop", categories=CATEGORIES, audit_rate=0.0)


def say(project: Project, texts: list[str], *, days_ago: float = 20, customer: str = "") -> list[uuid.UUID]:
    """Comments as they lie in the database."""
    at = timezone.now() - timedelta(days=days_ago)
    rows = [
        Event(project=project, inquiry_ref=f"r-{i}", kind="comment", text=text, request_sha=b"0" * 32, customer=customer, occurred_at=at)
        for i, text in enumerate(texts)
    ]  # fmt: skip
    return [e.pk for e in Event.objects.bulk_create(rows)]


def usual(n: int, seed: int = 1) -> list[str]:
    """What customers of a shop always write about."""
    return [text for text, _ in generate(n, seed=seed)]


def run(project: Project, **params: Any) -> Job:
    job = jobs.enqueue(kind="topics", project_id=project.pk, params=params)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.errors
    return job


def topic_of(events: list[uuid.UUID]) -> tuple[Topic, float]:
    """The topic that most of these comments have, and how many of them it holds and it holds of others: their Jaccard index."""
    numbers = TopicMember.objects.filter(event__in=events).values_list("topic__number", flat=True)
    number, shared = max(((n, list(numbers).count(n)) for n in set(numbers)), key=lambda pair: pair[1])
    topic = Topic.objects.get(number=number)
    return topic, shared / (len(events) + topic.members.count() - shared)


def state(project: Project) -> list[tuple[Any, ...]]:
    rows = TopicMember.objects.filter(project=project).order_by("pk")
    return list(rows.values_list("pk", "topic__number", "noise", "settled", "x", "y"))


def test_a_planted_problem_becomes_a_topic_that_the_daily_run_keeps_and_a_new_one_is_born(shop: Project) -> None:
    say(shop, usual(110))
    planted = say(shop, CRASHES)
    run(shop)
    first, share = topic_of(planted)
    assert share >= 0.5
    assert first.size == first.members.count()
    assert first.keywords
    assert first.representatives
    assert set(first.representatives) <= set(first.members.values_list("pk", flat=True))
    before = dict(TopicMember.objects.values_list("pk", "topic__number"))
    # Ten more of the same arrive: they get its topic at once, and the daily run keeps it and everybody else's.
    more = say(shop, [f"{text} again" for text in CRASHES[:10]], days_ago=0)
    Event.objects.filter(pk__in=more).update(sentiment=-0.8)
    topic_texts_seen(more)
    assert topic_arrivals.place_arrivals(project_id=shop.pk) == len(more)
    assert topic_of(more)[0] == first
    assert OutboxEvent.objects.filter(kind="topic.born").count() == 0
    new = say(shop, SONGS, days_ago=0)
    run(shop)
    after = dict(TopicMember.objects.values_list("pk", "topic__number"))
    assert all(after[pk] == number for pk, number in before.items())
    born, share = topic_of(new)
    assert share > 0.8
    assert born.number not in set(before.values())
    assert list(born.events.values_list("kind", flat=True)) == ["birth"]
    assert OutboxEvent.objects.get(kind="topic.born").payload == {"topic": born.pk, "from": []}
    first.refresh_from_db()
    assert first.trend[-1] == 10
    assert first.negative == 1.0


def topic_texts_seen(events: list[uuid.UUID]) -> None:
    """The comments have been read, which is when arrivals look for them."""
    from serving.models import CommentReading

    project_id = Event.objects.filter(pk=events[0]).values_list("project_id", flat=True)[0]
    CommentReading.objects.bulk_create(
        [CommentReading(event_id=pk, project_id=project_id, encoder_sha="e" * 64) for pk in events]
    )
