"""The real path: ratings and comments in PostgreSQL → pairs → head → ONNX → gates → production → another S."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from feedback import jobs, outbox
from feedback.models import Event, InquiryScore, Job, JobState, OutboxEvent
from feedback.problems import Problem
from feedback.services import NewEvent, NewInquiry, fold_scores, record_feedback, record_inquiry
from learning import sentiment
from learning.sentiment import collect_pairs
from learning.sentiment_tasks import new_pairs, train_if_due
from serving import comments, sentiment_registry
from serving.anchors import NEGATIVE, NEUTRAL, POSITIVE, TONES, english
from serving.comments import readers
from serving.models import CommentReading, SentimentVersion

pytestmark = pytest.mark.django_db
THINGS = ("sofa", "lamp", "kettle", "tent", "jacket", "printer")
# Words of this shop that no anchor knows: what they mean, only the ratings tell.
LIKES = (
    "The {} is totally gnarly",
    "A wicked {}, sick beyond words",
    "That {} slaps so hard",
    "The {} is fire, no cap",
)
LOATHES = ("The {} is mid", "The {} is a lemon, sadly", "That {} flops", "My {} conked out by noon")


@pytest.fixture(autouse=True)
def _fresh_readers():
    readers.forget()
    yield
    readers.forget()


@pytest.fixture
def say(project):
    """Post what customers say: a comment and, where one is given, a rating of the same inquiry."""
    count = iter(range(10**6))

    def post(text, rating=None, *, customer=None, rated_by=None, project_id=project.pk, weight=1.0):
        n = next(count)
        customer = f"c{n}" if customer is None else customer
        inquiry = record_inquiry(
            project_id=project_id, app_id=None, new=NewInquiry(text=f"inquiry {n}", request_sha=b"0" * 32), status="answered",
            category_id=None, reply_id=None,
        )  # fmt: skip
        said = [NewEvent(str(inquiry.pk), "comment", None, text, b"1" * 32, None, customer, None, weight)]
        if rating is not None:
            by = customer if rated_by is None else rated_by
            said.append(NewEvent(str(inquiry.pk), "rating", rating, "", b"2" * 32, None, by, None, weight))
        record_feedback(project_id=project_id, app_id=None, events=said)
        return Event.objects.get(inquiry=inquiry, kind="comment")

    return post


@pytest.fixture
def say_many(say):
    def post():
        for thing in THINGS:
            for liked, loathed in zip(LIKES, LOATHES, strict=True):
                say(liked.format(thing), 5)
                say(loathed.format(thing), 1)

    return post


def train(project) -> Job:
    job = jobs.enqueue(kind="train_sentiment", project_id=project.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    return job


def drain() -> None:
    while outbox.relay():
        pass


def test_a_comment_gets_its_sentiment_and_the_score_that_follows(project, say):
    glad, sad = say("Wonderful help, thank you so much!", 5), say("Terrible and rude, I am disappointed.", 1)
    drain()
    glad.refresh_from_db()
    sad.refresh_from_db()
    assert glad.sentiment > 0.5
    assert sad.sentiment < -0.5
    assert fold_scores(project_id=project.pk)
    scores = InquiryScore.objects
    assert scores.get(inquiry=glad.inquiry_id).explicit > scores.get(inquiry=sad.inquiry_id).explicit
    assert set(CommentReading.objects.values_list("version", flat=True)) == {None}


def test_an_outbox_event_that_names_one_comment_as_before_is_understood(project, say):
    comment = say("Wonderful help, thank you so much!")
    assert OutboxEvent.objects.filter(kind="comment.received").update(payload={"event": str(comment.pk)}) == 1
    drain()
    comment.refresh_from_db()
    assert comment.sentiment > 0.5


def test_ratings_teach_the_words_of_a_shop_and_its_comments_are_read_anew(project, say, say_many):
    say_many()
    told = say("The kayak is totally gnarly, it slaps")
    drain()
    told.refresh_from_db()
    before = told.sentiment
    job = train(project)
    assert job.state == JobState.DONE, job.errors
    version = SentimentVersion.objects.get()
    assert version.stage == "production", version.gates
    drain()
    jobs.run(Job.objects.get(kind="read_comments").pk)
    told.refresh_from_db()
    assert told.sentiment > max(before, 0)
    assert set(CommentReading.objects.values_list("version", flat=True)) == {version.pk}


def test_a_version_tells_what_it_was_made_from(project, say_many):
    say_many()
    train(project)
    version = SentimentVersion.objects.get()
    assert version.lineage["weights"] == version.manifest_sha
    assert version.lineage["labels"] == Event.objects.filter(kind="comment").count()
    assert {"data", "hyperparameters", "environment", "seed"} <= version.lineage.keys()
    assert [g["name"] for g in version.gates][:2] == ["parity", "anchors"]
    assert version.metrics["pairs_by_tone"]["neutral"] == 0


def test_the_same_pairs_give_the_same_bundle(project, say_many):
    say_many()
    train(project)
    train(project)
    first, second = SentimentVersion.objects.order_by("number")
    assert first.manifest_sha == second.manifest_sha


def test_false_ratings_that_turn_plain_praise_around_are_stopped(project, say):
    for liked, hated in english.OPINIONS[:80]:
        say(liked, 1)
        say(hated, 5)
    train(project)
    version = SentimentVersion.objects.get()
    assert version.stage == "rejected"
    assert not next(g for g in version.gates if g["name"] == "anchors")["passed"]
    with pytest.raises(Problem, match="failed a gate"):
        sentiment_registry.promote(version_id=version.pk)


def test_rolling_back_the_first_version_lets_the_anchors_read_again(project, say_many):
    say_many()
    train(project)
    version = SentimentVersion.objects.get()
    assert readers.reader_of(project.pk, "fine").version_id == version.pk
    assert sentiment_registry.rollback(project_id=project.pk, encoder_sha=version.encoder_sha) is None
    assert readers.reader_of(project.pk, "fine").name == comments.ANCHORS
    with pytest.raises(Problem, match="nothing has been promoted"):
        sentiment_registry.rollback(project_id=project.pk, encoder_sha=version.encoder_sha)
    sentiment_registry.promote(version_id=version.pk)
    assert readers.reader_of(project.pk, "fine").version_id == version.pk


def test_rolling_back_a_later_version_puts_the_one_before_back(project, say_many):
    say_many()
    train(project)
    train(project)
    sha = SentimentVersion.objects.first().encoder_sha
    assert sentiment_registry.rollback(project_id=project.pk, encoder_sha=sha).number == 1


def test_a_damaged_version_is_refused_and_what_read_before_goes_on(project, say, say_many):
    say_many()
    train(project)
    first = SentimentVersion.objects.get()
    assert readers.reader_of(project.pk, "fine").version_id == first.pk
    for n in range(8):
        say(f"{'Lovely' if n % 2 else 'Dreadful'} {THINGS[n % 6]}, number {chr(97 + n)}", 5 if n % 2 else 1)
    train(project)
    second = SentimentVersion.objects.latest("number")
    assert second.manifest_sha != first.manifest_sha
    weights = sentiment_registry.bundle_path(second.manifest_sha) / "weights.npy"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-4])
    assert readers.reader_of(project.pk, "fine").version_id == first.pk
    readers.forget()
    assert readers.reader_of(project.pk, "fine").name == comments.ANCHORS
    with pytest.raises(Problem, match="cannot serve"):
        sentiment_registry.promote(version_id=second.pk)


def test_a_training_that_lost_its_job_promotes_nothing(project, say_many, monkeypatch):
    say_many()
    job = jobs.enqueue(kind="train_sentiment", project_id=project.pk)
    real = sentiment.export

    def overtaken(*args):
        Job.objects.filter(pk=job.pk).update(token="00000000-0000-0000-0000-000000000000")
        return real(*args)

    monkeypatch.setattr(sentiment, "export", overtaken)
    jobs.run(job.pk)
    assert not SentimentVersion.objects.exists()


def test_a_resumed_training_does_not_repeat_a_variant_that_is_done(project, say, say_many, monkeypatch):
    say_many()
    for n in range(60):
        say(f"{'とても良い' if n % 2 else '最悪な'}商品{chr(0x4E00 + n)}でした。", 5 if n % 2 else 1)
    job = jobs.enqueue(kind="train_sentiment", project_id=project.pk)
    calls = []
    real = sentiment.learn

    def dies_at_the_second(*args, **kw):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kw)

    monkeypatch.setattr(sentiment, "learn", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        jobs.run(job.pk)
    assert SentimentVersion.objects.count() == 1
    Job.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
    jobs.sweep()
    jobs.run(job.pk)
    assert len(calls) == 3
    assert SentimentVersion.objects.values("encoder_sha").distinct().count() == 2


def test_too_few_pairs_wait(project, say):
    say("Good.", 5)
    say("Bad.", 1)
    job = train(project)
    assert [r["state"] for r in job.result["runs"]] == ["waiting"]
    assert not SentimentVersion.objects.exists()


def test_a_pair_is_a_comment_and_the_same_customers_rating_nearest_in_time(project, other_project, say):
    comment = say("Fine, I suppose.", 3)
    later = comment.occurred_at + timedelta(hours=1)
    Event.objects.create(
        project=project, request_sha=b"3" * 32, inquiry_ref=str(comment.inquiry_id), inquiry_id=comment.inquiry_id, kind="rating",
        value=1, customer=comment.customer, occurred_at=later,
    )  # fmt: skip
    say("Somebody else rated this.", 5, customer="a", rated_by="b")
    say("Nobody rated this.")
    say("Of another project.", 5, project_id=other_project.pk)
    assert [(p.text, TONES[p.tone]) for p in collect_pairs(project_id=project.pk)] == [("Fine, I suppose.", "neutral")]


def test_tones_follow_the_projects_own_scale(project, say):
    type(project).objects.update(rating_min=0, rating_max=10)
    for text, rating in (("a", 2), ("b", 5), ("c", 8)):
        say(text, rating)
    assert [p.tone for p in collect_pairs(project_id=project.pk)] == [NEGATIVE, NEUTRAL, POSITIVE]


def test_one_customer_counts_as_so_many_and_no_more(project, say):
    for n in range(40):
        say(f"good {chr(97 + n % 26)}{n}", 5, customer="loud")
    say("good indeed", 5, customer="quiet")
    weights = {p.text: p.weight for p in collect_pairs(project_id=project.pk)}
    assert weights.pop("good indeed") == 1
    assert np.isclose(sum(weights.values()), sentiment.MOST_PER_CUSTOMER)


def test_anonymous_pages_count_as_one_voice_together_and_less_each(project, say):
    say("good or so", 5, customer="", weight=0.2)
    (alone,) = collect_pairs(project_id=project.pk)
    assert (alone.weight, alone.vouched) == (0.2, False)
    for n in range(149):
        say(f"good {chr(97 + n % 26)}{n}", 5, customer="", weight=0.2)
    say("said by the app's server, which names nobody", 5, customer="")
    weights = {p.text: p.weight for p in collect_pairs(project_id=project.pk)}
    assert weights.pop("said by the app's server, which names nobody") == 1
    assert np.isclose(sum(weights.values()), sentiment.MOST_PER_CUSTOMER)


def test_anonymous_pairs_alone_neither_start_a_training_nor_teach(project, say, settings):
    settings.ENSO_SENTIMENT_PAIRS = 2
    for n in range(3 * sentiment.FEWEST):
        say(f"{'fine' if n % 2 else 'poor'} {chr(97 + n % 26)} {n}", 5 if n % 2 else 1, customer="", weight=0.2)
    drain()
    assert not train_if_due(project_id=project.pk)
    assert [r["state"] for r in train(project).result["runs"]] == ["waiting"]
    assert not SentimentVersion.objects.exists()


def test_an_anonymous_rating_does_not_stand_in_for_the_customers_own(project, say):
    comment = say("Fine, I suppose.", 3, customer="")
    Event.objects.create(
        project=project, request_sha=b"3" * 32, inquiry_ref=str(comment.inquiry_id), inquiry_id=comment.inquiry_id, kind="rating",
        value=1, customer="", weight=0.2, occurred_at=comment.occurred_at,
    )  # fmt: skip
    Event.objects.filter(kind="rating", value=3).update(occurred_at=comment.occurred_at + timedelta(hours=1))
    assert [p.tone for p in collect_pairs(project_id=project.pk)] == [NEUTRAL]


def test_rated_comments_trigger_a_training_when_enough_have_come(project, say, settings):
    settings.ENSO_SENTIMENT_PAIRS = 2
    say("Good.", 5)
    say("Unrated.")
    drain()
    assert not train_if_due(project_id=project.pk)
    say("Bad.", 1)
    drain()
    assert new_pairs(project_id=project.pk) == 2
    assert train_if_due(project_id=project.pk)
    Job.objects.update(state="done", started_at=timezone.now())
    assert not train_if_due(project_id=project.pk)


def test_a_night_later_one_rated_comment_is_enough(project, say, settings):
    settings.ENSO_SENTIMENT_PAIRS = 50
    job = jobs.enqueue(kind="train_sentiment", project_id=project.pk)
    Job.objects.filter(pk=job.pk).update(state="done", started_at=timezone.now() - timedelta(hours=25))
    assert not train_if_due(project_id=project.pk)
    say("Good.", 5)
    drain()
    assert train_if_due(project_id=project.pk)


def test_a_comment_that_was_erased_meanwhile_is_left_alone(project, say):
    comment = say("Good.", 5)
    Event.objects.filter(pk=comment.pk).delete()
    drain()
    assert not CommentReading.objects.exists()
