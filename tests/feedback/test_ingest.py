"""Storing events and folding them: any order, any repetition, any cut gives the same scores to the last bit."""

from __future__ import annotations

import io
import json
import random
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback import ingest, score_fold
from feedback.event_shape import EventIn, checked
from feedback.figures import weights_of
from feedback.models import Category, Event, Inquiry, InquiryScore, Original, Project, ScoreCell, Unscored
from feedback.rules import Rules
from feedback.scores import Evidence, Signal, evidence_of, scores_of
from feedback.services import (
    NewInquiry,
    create_project,
    fold_scores,
    record_feedback,
    record_inquiry,
    rescore,
    set_weights,
    settle_inquiry,
    write_sentiment,
)
from feedback.totals import Totals, totals_of
from tests.conftest import CATEGORIES

START = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = {
    "impression": st.none(), "click": st.none(), "dwell": st.floats(0, 86_400), "scroll": st.floats(0, 1),
    "thumbs": st.sampled_from(["up", "down"]), "rating": st.integers(1, 5), "nps": st.integers(0, 10),
}  # fmt: skip
an_event = st.one_of(
    [
        st.tuples(st.just(k), v, st.integers(0, 4), st.integers(0, 3), st.sampled_from([1.0, 1.0, 0.2]))
        for k, v in VALUES.items()
    ]
)


def new_event(number: int, kind: str, value, inquiry: int, second: int, weight: float = 1.0) -> ingest.NewEvent:
    given = EventIn(
        inquiry=f"order-{inquiry}", type=kind, value=value, event_id=f"e{number}", occurred_at=START + timedelta(seconds=second)
    )  # fmt: skip
    return checked(given, Rules(1, 5), weight=weight)


def new_inquiry(project: Project, number: int, category: Category | None = None) -> Inquiry:
    new = NewInquiry(text=f"Where is parcel number {number}?", request_sha=b"0" * 32, external_id=f"order-{number}")
    return record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="waiting", category_id=category and category.pk, reply_id=None,
        model=f"v{number % 3}",
    )  # fmt: skip


def exactly(project: Project) -> bytes:
    """Every score and sum of a project, floats as their eight bytes."""
    assert fold_scores(project_id=project.pk)
    names = [f.name for f in InquiryScore._meta.fields if f.name not in ("inquiry", "category", "updated_at")]
    scores = InquiryScore.objects.filter(inquiry__project=project).order_by("inquiry__external_id")
    rows = [[_bits(v) for v in row] for row in scores.values_list("inquiry__external_id", "category__key", *names)]
    cells = ScoreCell.objects.filter(project=project).order_by("category__key", "model").exclude(events=0)
    sums = [list(row) for row in cells.values_list("category__key", "model", *Totals._fields)]
    return json.dumps([rows, sums], default=str).encode()


def _bits(value):
    return struct.pack("<d", value).hex() if isinstance(value, float) else value


@pytest.mark.django_db
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given=st.lists(an_event, min_size=1, max_size=40), seed=st.integers(0, 2**32))
def test_any_order_repetition_and_cut_gives_the_same_bytes(project, given, seed):
    rng = random.Random(seed)
    events = [new_event(i, *e) for i, e in enumerate(given)]
    with transaction.atomic():
        for number in range(5):
            new_inquiry(project, number)
        record_feedback(project_id=project.pk, app_id=None, events=events)
        in_order = exactly(project)
        transaction.set_rollback(True)
    delivered = events + rng.sample(events, len(events) // 2)
    rng.shuffle(delivered)
    late = rng.randrange(5)
    with transaction.atomic():
        for number in set(range(5)) - {late}:
            new_inquiry(project, number)
        while delivered:
            size = rng.randint(1, len(delivered))
            record_feedback(project_id=project.pk, app_id=None, events=delivered[:size])
            del delivered[:size]
            if rng.random() < 0.5:
                score_fold.fold_project(project.pk, rows=rng.randint(1, 3))
        new_inquiry(project, late)
        assert exactly(project) == in_order
        transaction.set_rollback(True)


def many(count: int, inquiries: int) -> list[ingest.NewEvent]:
    rng = random.Random(7)
    kinds = {
        "impression": lambda: None, "click": lambda: None, "dwell": lambda: rng.expovariate(0.05), "scroll": rng.random,
        "thumbs": lambda: rng.choice(["up", "down"]), "rating": lambda: rng.randint(1, 5), "nps": lambda: rng.randint(0, 10),
    }  # fmt: skip
    drawn = [rng.choice(list(kinds)) for _ in range(count)]
    return [
        new_event(i, k, kinds[k](), rng.randrange(inquiries), rng.randrange(500), rng.choice([1.0, 1.0, 0.2]))
        for i, k in enumerate(drawn)
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("count", "inquiries"), [(1_500, 60), pytest.param(10_000, 400, marks=pytest.mark.soak)])
def test_events_delivered_twice_by_threads_in_any_order_give_the_same_bytes(project, count, inquiries):
    other = create_project(slug="twin", name="Twin", categories=CATEGORIES)
    events = many(count, inquiries)
    for number in range(inquiries):
        new_inquiry(project, number)
    for i in range(0, len(events), 1000):
        record_feedback(project_id=project.pk, app_id=None, events=events[i : i + 1000])
    rng = random.Random(11)
    shuffled = events + events
    rng.shuffle(shuffled)
    stop = threading.Event()

    def deliver(part: int) -> int:
        try:
            mine = shuffled[part::4]
            stored = 0
            for i in range(0, len(mine), 150):
                receipts = record_feedback(project_id=other.pk, app_id=None, events=mine[i : i + 150])
                assert not [r for r in receipts if r.result == "conflict"]
                stored += sum(r.result == "stored" for r in receipts)
            return stored
        finally:
            connection.close()

    def keep_folding() -> None:
        try:
            while not stop.wait(0.02):
                score_fold.fold_project(other.pk, rows=20)
        finally:
            connection.close()

    with ThreadPoolExecutor(5) as pool:
        folding = pool.submit(keep_folding)
        delivering = [pool.submit(deliver, part) for part in range(4)]
        for number in range(inquiries):  # inquiries come after many of their events
            new_inquiry(other, number)
        stored = sum(d.result() for d in delivering)
        stop.set()
        folding.result()
    ingest.join_missed()
    assert stored == count
    assert exactly(other) == exactly(project)


@pytest.mark.django_db(transaction=True)
def test_single_events_from_many_threads_are_each_stored_once(project):
    new_inquiry(project, 1)
    events = [new_event(i, "dwell", 1.0, 1, i) for i in range(40)]

    def one(event):
        try:
            return record_feedback(project_id=project.pk, app_id=None, events=[event])[0].result
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, events + events))
    assert sorted(results) == ["duplicate"] * 40 + ["stored"] * 40
    assert fold_scores(project_id=project.pk)
    assert InquiryScore.objects.get().dwell_us == 40_000_000


@pytest.mark.django_db
class TestScores:
    @pytest.fixture
    def inquiry(self, project):
        return new_inquiry(project, 1, Category.objects.get(project=project, key="refund"))

    def store(self, project, *events) -> None:
        record_feedback(project_id=project.pk, app_id=None, events=[new_event(i, *e) for i, e in enumerate(events)])

    def test_sums_equal_those_made_of_all_events_anew(self, project, inquiry):
        self.store(project, ("click", None, 1, 0), ("nps", 9, 1, 1), ("rating", 2, 1, 2), ("thumbs", "down", 1, 3))
        assert fold_scores(project_id=project.pk)
        signals = Event.objects.values_list("kind", "value", "occurred_at", "weight")
        evidence = evidence_of(Signal(*s) for s in signals)
        totals = totals_of(evidence, scores_of(evidence, *weights_of(project)))
        assert Totals(*ScoreCell.objects.values_list(*Totals._fields).get()) == totals
        rescore(inquiry_ids=[inquiry.pk])
        assert fold_scores(project_id=project.pk)
        assert Totals(*ScoreCell.objects.values_list(*Totals._fields).get()) == totals

    def test_a_persons_decision_moves_the_inquiry_to_its_category(self, project, inquiry):
        self.store(project, ("click", None, 1, 0))
        assert fold_scores(project_id=project.pk)
        settle_inquiry(inquiry_id=inquiry.pk, category_id=Category.objects.get(project=project, key="delivery").pk)
        assert fold_scores(project_id=project.pk)
        counted = dict(ScoreCell.objects.values_list("category__key", "inquiries"))
        assert counted == {"refund": 0, "delivery": 1}

    def test_a_comments_sentiment_counts_once_it_is_written_and_again_when_it_changes(self, project, inquiry):
        given = EventIn(inquiry="order-1", type="comment", text="Call 090-1234-5678, you liars!", event_id="c")
        record_feedback(project_id=project.pk, app_id=None, events=[checked(given, Rules(1, 5))])
        event = Event.objects.get()
        seen = []
        for sentiment in (None, 0.9, -0.9):
            if sentiment is not None:
                write_sentiment(event_id=event.pk, sentiment=sentiment)
            assert fold_scores(project_id=project.pk)
            seen.append(InquiryScore.objects.get().explicit)
        assert seen == [None, pytest.approx(0.9), pytest.approx(-0.9)]

    def test_a_comment_is_stored_masked_and_its_original_sealed(self, project, inquiry):
        given = EventIn(inquiry="order-1", type="comment", text="Call 090-1234-5678.", event_id="c")
        record_feedback(project_id=project.pk, app_id=None, events=[checked(given, Rules(1, 5))])
        assert Event.objects.get().text == "Call [phone]."
        assert Original.objects.get().event == Event.objects.get().pk

    def test_other_weights_make_every_score_anew(self, project, inquiry):
        self.store(project, ("click", None, 1, 0))
        assert fold_scores(project_id=project.pk)
        set_weights(project_id=project.pk, changes={"click_weight": 0.9})
        assert fold_scores(project_id=project.pk)
        assert InquiryScore.objects.get().implicit == pytest.approx(0.9)
        assert ScoreCell.objects.get().implicit_sum == 900_000_000

    def test_weights_that_an_operator_sets_make_every_score_anew(self, project, inquiry):
        self.store(project, ("click", None, 1, 0))
        assert fold_scores(project_id=project.pk)
        call_command("configure", project.slug, "click_weight=0.7", stdout=io.StringIO())
        assert fold_scores(project_id=project.pk)
        assert InquiryScore.objects.get().implicit == pytest.approx(0.7)

    def test_scores_made_anew_wait_until_all_that_is_queued_is_taken(self, project, inquiry):
        self.store(project, ("dwell", 1.0, 1, 0))
        rescore(inquiry_ids=[inquiry.pk])
        record_feedback(project_id=project.pk, app_id=None, events=[new_event(9, "dwell", 2.0, 1, 1)])
        while score_fold.fold_project(project.pk, rows=1):
            pass
        assert InquiryScore.objects.get().dwell_us == 3_000_000
        assert not Unscored.objects.exists()

    def test_an_event_whose_inquiry_was_erased_meanwhile_is_swept(self, project, inquiry):
        self.store(project, ("click", None, 1, 0))
        with connection.cursor() as cursor:  # as an erasure that had looked for events before this one came
            cursor.execute("DELETE FROM feedback_inquiry WHERE id = %s", [inquiry.pk])
        assert ingest.sweep_orphans() == 1
        assert not Event.objects.exists()

    def test_an_inquiry_that_was_stored_in_the_same_moment_gets_its_events(self, project, inquiry):
        self.store(project, ("click", None, 1, 0))
        Event.objects.update(inquiry=None)  # as when neither side saw the other
        Unscored.objects.all().delete()
        assert ingest.join_missed() == 1
        assert fold_scores(project_id=project.pk)
        assert InquiryScore.objects.get().events == 1


def test_evidence_merges_in_any_grouping():
    rng = random.Random(3)
    signals = [Signal("dwell", rng.random() * 100, START + timedelta(seconds=rng.randrange(9)), 0.3) for _ in range(50)]
    whole = evidence_of(signals)
    assert evidence_of(signals[:20]) + evidence_of(signals[20:]) == whole
    assert sum((evidence_of([s]) for s in reversed(signals)), start=Evidence()) == whole
