"""Topics of a project: a planted problem becomes one, keeps its number, and what is killed or erased leaves no trace."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from feedback import jobs
from feedback.ids import uuid7
from feedback.jobs import Fenced
from feedback.models import Event, Job, JobState, OutboxEvent, Project
from feedback.services import create_project
from learning import topic_arrivals, topic_erasure, topic_runs, topic_texts
from learning.core.topics.rounds import Round, play
from learning.models import Topic, TopicMember, TopicRun
from learning.sample.grammar import generate
from serving.models import CommentReading
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
    """Comments as they lie in the database, in this order: ids of one millisecond would else be in any."""
    at, ids = timezone.now() - timedelta(days=days_ago), sorted(uuid7() for _ in texts)
    rows = [
        Event(pk=pk, project=project, inquiry_ref=f"r-{i}", kind="comment", text=text, request_sha=b"0" * 32, customer=customer,
              occurred_at=at)
        for i, (pk, text) in enumerate(zip(ids, texts, strict=True))
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


def state(upto: int) -> list[tuple[Any, ...]]:
    rows = TopicMember.objects.filter(pk__lte=upto).order_by("pk")
    return list(rows.values_list("topic__number", "noise", "settled"))


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
    seen(more)
    assert topic_arrivals.place_arrivals(project_id=shop.pk) == len(more)
    assert topic_of(more)[0] == first
    assert OutboxEvent.objects.filter(kind="topic.born").count() == 0
    new = say(shop, SONGS, days_ago=0)
    run(shop)
    after = dict(TopicMember.objects.values_list("pk", "topic__number"))
    assert all(after[pk] == number for pk, number in before.items())
    born, share = topic_of(new)
    assert share >= 0.5  # on a map this small a topic may be cut in two
    assert born.number not in set(before.values())
    assert list(born.events.values_list("kind", flat=True)) == ["birth"]
    assert OutboxEvent.objects.get(kind="topic.born", payload__topic=born.pk).payload == {"topic": born.pk, "from": []}
    first.refresh_from_db()
    assert first.trend[-1] == first.members.filter(event__in=[*more, *new]).count() > 5
    assert first.negative == 1.0


def seen(events: list[uuid.UUID]) -> None:
    """The comments have been read, which is when arrivals look for them."""
    project_id = Event.objects.filter(pk=events[0]).values_list("project_id", flat=True)[0]
    CommentReading.objects.bulk_create(
        [CommentReading(event_id=pk, project_id=project_id, encoder_sha="e" * 64) for pk in events]
    )


def test_a_run_that_is_killed_is_played_again_over_the_same_texts_and_its_first_attempt_writes_nothing(
    shop: Project,
) -> None:
    say(shop, usual(80) + SONGS[:30])
    job = jobs.enqueue(kind="topics", project_id=shop.pk, params={"seed": 7})
    killed = jobs.claim(job.pk)
    assert killed is not None
    plan = topic_runs._plan(killed)
    texts = topic_texts.read(project_id=shop.pk, encoder_sha=next(iter(plan["maps"])))
    wanted: Round = play("fit", topic_runs._known(texts), next_id=1, seed=7)
    jobs.fail(job.pk, killed.token, 1, "the worker stopped without a word")
    say(shop, usual(20, seed=3))  # they came after the run began: the next run's
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.DONE, 2)
    assert state(plan["upto"]) == list(
        zip(wanted.ids.tolist(), wanted.noise.tolist(), wanted.settled.tolist(), strict=True)
    )
    assert TopicRun.objects.get().texts == 110
    with pytest.raises(Fenced):
        topic_runs.run_topics(killed)
    assert TopicRun.objects.count() == 1


def test_after_an_erasure_topics_speak_of_the_others_alone(shop: Project) -> None:
    say(shop, usual(60))
    theirs = say(shop, [f"{text} by zebra umbrella" for text in SONGS[:32]], customer="c-17")
    run(shop)
    assert len(theirs) == TopicMember.objects.filter(topic__keywords__len__gt=0, event__in=theirs).count()
    assert "zebra" in repr(list(Topic.objects.values_list("keywords")))
    touched = topic_erasure.touched(project_id=shop.pk, customer="c-17")
    assert sum(touched.values()) == 32
    Event.objects.filter(customer="c-17").delete()
    for sha in touched:
        topic_erasure.say_again(project_id=shop.pk, encoder_sha=sha)
    stored = repr([list(m.objects.values()) for m in (Topic, TopicMember, TopicRun)])
    assert "zebra" not in stored
    assert "umbrella" not in stored
    assert TopicMember.objects.count() == 60
    assert sum(Topic.objects.values_list("size", flat=True)) == 60
