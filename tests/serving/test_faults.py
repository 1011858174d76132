"""What the caller gets when a part is away, and that nothing acknowledged is lost. Parts that break for real where they can."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from feedback import limits
from feedback.group_commit import Busy
from feedback.models import Inquiry, Project
from feedback.services import add_reply, touch_project
from learning.core.preference.policy import ReplyPolicy, policy_graph
from serving import policies, reading
from serving.breaker import Breaker
from serving.models import ReplyShown
from serving.policy import Offer, ServedPolicy, Shelf
from serving.served import served
from serving.turns import Turns

REFUND = "I want my money back, please refund the order."


@pytest.fixture
def shop(project):
    """Answers by itself, with two replies of which a policy chooses."""
    Project.objects.filter(pk=project.pk).update(confidence_threshold=0.0, anger_threshold=-1.0)
    refund = project.categories.get(key="refund")
    for slot, text in enumerate(("Category's reply.", "Policy's reply."), start=1):
        add_reply(category_id=refund.pk, locale="en", text=text, slot=slot)
    return project


class Stalled:
    """The policy's graph, that takes longer than any customer should wait."""

    def __init__(self, session):
        self._session = session

    def run(self, *given):
        time.sleep(2 * policies.BUDGET_SECONDS)
        return self._session.run(*given)


def prediction(x):
    return SimpleNamespace(category="refund", teacher_sha="", encoder_sha="e", embedding=x)


@pytest.fixture
def shelf():
    policy = ReplyPolicy(np.zeros((6, 2), np.float32), np.zeros(2, np.float32))
    made = ServedPolicy(policy_graph(policy), [1, 2], temperature=1.0, exploration=0.0)
    return Shelf({"e": (1, made)}, (Offer(1, "refund", "en", "one"), Offer(2, "refund", "en", "two")))


def choose(shelf):
    return policies.choose(shelf, p=prediction(np.ones(6, np.float32)), locale="en", metadata=None)


def test_a_policy_that_stalls_is_left_alone_after_a_few_customers(shelf):
    policy = shelf.policies["e"][1]
    policy._session = Stalled(policy._session)
    found = [choose(shelf) for _ in range(7)]
    assert [f is not None for f in found] == [True] * 5 + [False] * 2
    assert policy.breaker.state == "open"


def test_a_policy_that_fails_is_left_alone_and_tried_again_later(shelf):
    clock, policy = SimpleNamespace(now=0.0), shelf.policies["e"][1]
    policy.breaker = Breaker(clock=lambda: clock.now)
    session, policy._session = policy._session, None
    assert [choose(shelf) for _ in range(6)] == [None] * 6
    policy._session = session
    assert choose(shelf) is None
    clock.now = 1.0
    assert choose(shelf) is not None
    assert policy.breaker.state == "closed"


@pytest.mark.django_db
def test_with_a_broken_policy_customers_get_the_categorys_reply(shop, shelf, post):
    touch_project(project_id=shop.pk)
    desk = served.desk(shop.pk)
    shelf.policies["e"][1]._session = None
    sha = served.encoder_for("a", "en")[0].sha256
    object.__setattr__(desk, "shelf", Shelf({sha: shelf.policies["e"]}, shelf.offers))
    answers = [post("inquiries", {"text": REFUND, "locale": "en"}) for _ in range(2)]
    assert [a.json()["reply"]["text"] for a in answers] == ["Category's reply."] * 2
    assert not ReplyShown.objects.exists()


@pytest.mark.django_db
def test_with_redis_away_inquiries_are_answered_and_stored(shop, post, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"  # nobody listens there
    limits.limiter.cache_clear()
    try:
        answers = [post("inquiries", {"text": REFUND}) for _ in range(3)]
    finally:
        limits.limiter.cache_clear()
    assert [a.status_code for a in answers] == [201] * 3
    assert Inquiry.objects.count() == 3


class FullDisk(logging.Handler):
    """A log file on a disk that takes nothing any more."""

    def __init__(self, path):
        super().__init__()
        self.path, self.refused = path, 0

    def emit(self, record):
        try:
            self.path.write_text(self.format(record))
        except OSError:
            self.refused += 1
            self.handleError(record)


@pytest.mark.django_db
def test_a_full_disk_under_the_log_file_costs_nobody_an_answer(shop, post, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(served.encoder_for("a", "en")[0], "encode", None)  # so that something is said
    full = FullDisk(Path("/dev/full"))
    logging.getLogger("serving").addHandler(full)
    try:
        answer = post("inquiries", {"text": REFUND})
    finally:
        logging.getLogger("serving").removeHandler(full)
    assert full.refused
    assert answer.status_code == 201
    assert Inquiry.objects.count() == 1


@pytest.mark.django_db
def test_beyond_the_bounded_queue_the_caller_is_told_to_come_again_and_no_case_is_opened(shop, post, monkeypatch):
    full = Turns(1, waiting=0, patience=1.0)
    monkeypatch.setattr(reading, "_turns", full)
    post("predict", {"text": REFUND})
    with full.turn():
        answer = post("inquiries", {"text": REFUND})
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert not Inquiry.objects.exists()
    assert reading.breaker(served.encoder_for("a", "en")[0].sha256).state == "closed"
    assert post("inquiries", {"text": REFUND}).status_code == 201


def test_a_place_in_the_queue_is_given_back_whatever_happens_in_it():
    turns = Turns(1, waiting=0, patience=0.01)
    for _ in range(3):
        with pytest.raises(ValueError, match="inside"), turns.turn():
            raise ValueError("inside")
    with turns.turn(), pytest.raises(Busy), turns.turn():
        pass


@pytest.mark.django_db
def test_a_process_that_is_ready_has_opened_what_its_projects_serve(shop, client):
    from config import health

    health._warm.cache_clear()
    assert client.get("/readyz").status_code == 200
    assert shop.pk in served._desks
